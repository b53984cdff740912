package rpc

import (
	"testing"
	"time"
)

func TestWhatBecameOfCallsIsTakenOnce(t *testing.T) {
	s := newScene()
	s.caller.Begin(s.Now(), s.service, "plus", "2", time.Second, nobodys{})
	s.start = s.start.Add(-100 * time.Millisecond) // so much later it is
	s.a.Answer(s.Now(), "caller", "1", 500)
	taken, waiting := s.Find("calc").TakeEnded()
	if taken.Answered != 1 || taken.Failed != 1 || taken.Took != taken.Longest || taken.Took < 100*time.Millisecond || waiting != 1 {
		t.Errorf("%+v and %d wait, want one answer, with a failure, after 100 ms, and one that waits", taken, waiting)
	}
	s.start = s.start.Add(-2 * time.Second)
	s.expire()
	if taken, waiting = s.service.TakeEnded(); taken != (Taken{Failed: 1}) || waiting != 0 {
		t.Errorf("%+v and %d wait, want one that failed", taken, waiting)
	}
	if taken, _ = s.service.TakeEnded(); taken != (Taken{}) || s.Find("other") != nil {
		t.Errorf("%+v, want nothing: it was taken", taken)
	}
}
