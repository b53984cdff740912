package apiconv

import (
	"time"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/stats"
	"github.com/rushmore/zbus-go/internal/storage"
)

// ServerInfo is what the broker does not know about the server.
type ServerInfo struct {
	Address     string
	TLS         bool
	PublicURLs  []string // origins
	MaxBody     int64    // bytes of a message
	Version     string
	Durability  string
	Started     time.Time
	Connections int64
	Database    int64 // bytes of the database's files
	DiskFree    int64 // bytes; negative when not known
	Space       storage.Space
	Memory      int64 // resident bytes; 0 when not known
	Conditions  []condition.Condition
	Scrub       storage.Scrub
	Backup      apimodel.Backups
}

// Server describes this server.
func Server(info ServerInfo, b *broker.Broker, s *stats.Sampler) apimodel.ServerStatus {
	d := apimodel.ServerStatus{
		Address: info.Address, Tls: &info.TLS, PublicUrls: OptionalList(info.PublicURLs), Version: info.Version, Durability: apimodel.Durability(info.Durability), MaxBody: new(info.MaxBody),
		Started: info.Started.UTC().Truncate(time.Millisecond), Uptime: time.Since(info.Started).Milliseconds(), Live: true,
		Connections: int(info.Connections), Database: Count(info.Database), Memory: Count(info.Memory),
	}
	d.Conditions = make([]apimodel.Condition, len(info.Conditions))
	for i := range info.Conditions {
		d.Conditions[i] = conditionOf(&info.Conditions[i])
	}
	clock := b.Clock()
	d.Clock.Offset = clock.Offset
	if clock.Jump != 0 {
		d.Clock.Jump = &clock.Jump
	}
	if clock.Suspended != 0 {
		until := Time(clock.Suspended)
		d.Clock.SuspendedUntil = &until
	}
	if info.DiskFree >= 0 {
		d.DiskFree = Optional(Count(info.DiskFree))
	}
	d.Backup = &info.Backup
	d.Scrub = scrubOf(&info.Scrub)
	if sp := info.Space; sp != (storage.Space{}) {
		d.Disk = &apimodel.Disk{
			Room: Count(sp.Room), Unused: Count(sp.Unused), Floor: Count(sp.Floor), Reserve: Count(sp.Reserve), Stopped: sp.Stopped,
		}
	}
	messages, bytes, groups := Stored(b)
	d.Topics, d.Groups, d.Messages, d.Bytes = len(b.System().Topics()), groups, Count(messages), Count(bytes)
	total, _ := s.Total()
	d.Rates = apimodel.Rates{In: total.In, Out: total.Out}
	return d
}

// Stored is how much all topics of a broker have together.
func Stored(b *broker.Broker) (messages, bytes int64, groups int) {
	for _, t := range b.System().Topics() {
		def := t.Definition()
		groups += len(t.Groups())
		messages += def.Next - def.First
		bytes += def.Bytes
	}
	return messages, bytes, groups
}

// scrubOf describes the check of what is stored.
func scrubOf(s *storage.Scrub) *apimodel.Scrub {
	d := &apimodel.Scrub{
		Running: s.Running, Progress: s.Progress, Messages: Count(s.Messages), Bytes: Count(s.Bytes),
		Damaged: Count(s.Damaged), Findings: Count(s.Findings), Every: s.Every.Milliseconds(),
	}
	if !s.Finished.IsZero() {
		finished := s.Finished.UTC().Truncate(time.Millisecond)
		d.Finished = &finished
	}
	return d
}

// StatsPoint describes what happened in one interval.
func StatsPoint(p stats.Point) apimodel.StatsPoint {
	return apimodel.StatsPoint{
		Time: p.Time.UTC().Truncate(time.Millisecond), In: p.In, Out: p.Out, Calls: p.Calls, Lag: Count(p.Lag), LagExact: p.Exact,
		Connections: int(p.Connections), Backlog: Count(p.Backlog),
	}
}

func conditionOf(c *condition.Condition) apimodel.Condition {
	d := apimodel.Condition{
		Kind: c.Kind, Severity: apimodel.ConditionSeverity(c.Severity), Ready: !c.NotReady, Text: c.Text, Since: c.Since.UTC().Truncate(time.Millisecond),
	}
	if c.Subject != "" {
		d.Subject = &c.Subject
	}
	return d
}
