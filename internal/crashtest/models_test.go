package crashtest

import (
	"net/http"
	"slices"

	"github.com/anishathalye/porcupine"
)

// part is what the operations on one topic or group have to look like: parts know nothing
// of each other.
type part struct {
	name string
	porcupine.Model
}

// of are the operations on a part.
func of(all []porcupine.Operation, name string) []porcupine.Operation {
	return slices.DeleteFunc(slices.Clone(all), func(op porcupine.Operation) bool { return op.Input.(request).part != name })
}

func models(topics []string, jobs string) []part {
	all := []part{{jobs + "/moved", model(int64(0), placeStep)}, {jobs + "/acked", model(uint64(0), settledStep)}}
	for _, name := range topics {
		all = append(all, part{name, model(topicState{}, topicStep)})
	}
	return all
}

// model is of states of a type that can be compared. step returns the states that a request
// with this outcome can lead to; none: the outcome is wrong.
func model[S comparable](start S, step func(S, request, outcome) []S) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{start} },
		Step: func(state, input, output any) (next []any) {
			for _, s := range step(state.(S), input.(request), output.(outcome)) {
				next = append(next, s)
			}
			return next
		},
	}
	return m.ToModel()
}

// topicState is a topic. One that is created again knows no ids, and begins at offset 0.
type topicState struct {
	there  bool
	next   int64 // offset
	stored [historyIDs]bool
	at     [historyIDs]int64
}

func topicStep(s topicState, in request, out outcome) []topicState {
	done := s
	switch in.kind {
	case create:
		done = topicState{there: true}
		return possible(s, done, !s.there, out, http.StatusCreated, http.StatusConflict)
	case remove:
		done = topicState{}
		return possible(s, done, s.there, out, http.StatusNoContent, http.StatusNotFound)
	}
	switch {
	case out.unknown && (!s.there || s.stored[in.number]):
		return []topicState{s}
	case out.unknown:
		done.put(in.number)
		return []topicState{s, done}
	case !s.there:
		return only(s, out.status == http.StatusNotFound)
	case s.stored[in.number]:
		return only(s, out.status == http.StatusOK && out.duplicate && out.offset == s.at[in.number])
	}
	done.put(in.number)
	return only(done, out.status == http.StatusCreated && !out.duplicate && out.offset == s.next)
}

// only is the state, if the outcome is right.
func only[S comparable](s S, right bool) []S {
	if right {
		return []S{s}
	}
	return nil
}

// put stores a message.
func (s *topicState) put(id int64) {
	s.stored[id], s.at[id] = true, s.next
	s.next++
}

// possible are the states after something that is done where it can be, and refused
// elsewhere.
func possible[S comparable](s, done S, can bool, out outcome, yes, no int) []S {
	switch {
	case out.unknown && can:
		return []S{s, done}
	case out.unknown:
		return []S{s}
	case can:
		return only(done, out.status == yes)
	}
	return only(s, out.status == no)
}

// placeStep is of a group that nobody consumes: a number that is set and read.
func placeStep(at int64, in request, out outcome) []int64 {
	switch {
	case out.unknown && in.kind == move:
		return []int64{at, in.number}
	case out.unknown:
		return []int64{at}
	case in.kind == move:
		return only(in.number, out.status == http.StatusOK && out.offset == at)
	}
	return only(at, out.status == http.StatusOK && out.offset == at)
}

// settledStep is of a group whose messages are acked: those that are, by a bit for each.
// What is acked is never delivered again. An ack of what was delivered before a kill is
// refused, and does nothing.
func settledStep(acked uint64, in request, out outcome) []uint64 {
	bit := uint64(1) << in.number
	switch {
	case in.kind == pull && (out.unknown || out.status == http.StatusOK && (out.offset < 0 || acked>>out.offset&1 == 0)):
		return []uint64{acked}
	case in.kind == ack && out.unknown:
		return []uint64{acked, acked | bit}
	case in.kind == ack && out.status == http.StatusConflict:
		return []uint64{acked}
	case in.kind == ack && out.status == http.StatusOK:
		return []uint64{acked | bit}
	}
	return nil
}
