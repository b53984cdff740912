package server

import (
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// The original's clients say what a topic or group is by the bits of a mask, and are told so
// by one. Bits without a meaning here are kept for them.
const (
	maskMemory    = 1
	maskRPC       = 2 // implies memory
	maskProxy     = 4 // implies memory
	maskPause     = 8
	maskExclusive = 16
	maskEphemeral = 32
	maskExplicit  = 64

	topicBits = maskMemory | maskRPC | maskProxy
	groupBits = maskPause | maskExclusive | maskEphemeral | maskExplicit
)

// topicSpec is what a mask says of a topic; nil is none. The kind of a topic that exists
// stays: what else its mask says of calls is whether its consumers may answer.
func topicSpec(mask *int64) (spec broker.TopicSpec) {
	if mask == nil {
		return spec
	}
	switch m := *mask; {
	case m&maskProxy != 0:
		spec.Kind = storage.KindProxy
	case m&maskRPC != 0:
		spec.Kind = storage.KindRPC
	case m&maskMemory != 0:
		spec.Kind = storage.KindMemory
	}
	replies := *mask&(maskRPC|maskProxy) != 0
	spec.Replies, spec.LegacyMask = &replies, mask
	return spec
}

// topicMask is the mask that says what a topic is.
func topicMask(def *storage.Topic) int64 {
	mask := def.LegacyMask &^ topicBits
	switch def.Kind {
	case storage.KindLog:
	case storage.KindMemory:
		mask |= maskMemory
	case storage.KindRPC:
		mask |= maskRPC | def.LegacyMask&maskMemory
	case storage.KindProxy:
		mask |= maskProxy | def.LegacyMask&(maskMemory|maskRPC)
	}
	if def.Replies {
		mask |= def.LegacyMask & (maskRPC | maskProxy)
	}
	return mask
}

// setGroupMask adds what a mask says of a group; nil is none. It pauses a group, and resumes
// none: consumers declare their groups at each connection.
func setGroupMask(spec *broker.GroupSpec, mask *int64) {
	if mask == nil {
		return
	}
	is := func(bit int64) *bool { set := *mask&bit != 0; return &set }
	settle := storage.SettleAuto
	if *is(maskExplicit) {
		settle = storage.SettleExplicit
	}
	spec.Settle, spec.Exclusive, spec.Ephemeral, spec.LegacyMask = &settle, is(maskExclusive), is(maskEphemeral), mask
	if paused := is(maskPause); *paused {
		spec.Paused = paused
	}
}

// groupMask is the mask that says what a group is.
func groupMask(def *storage.Group) int64 {
	mask := def.LegacyMask &^ groupBits
	if def.Paused {
		mask |= maskPause
	}
	if def.Exclusive {
		mask |= maskExclusive
	}
	if def.Ephemeral {
		mask |= maskEphemeral
	}
	if def.Settle == storage.SettleExplicit {
		mask |= maskExplicit
	}
	return mask
}
