package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// Fifty servers that ask at the same time have the topics counted once.
func TestFiguresAreCountedOnceForAllThatAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := 0
		c, err := New(Options{Self: Address{Address: "10.0.0.1:15555"}, Figures: func() Figures {
			counts++
			return Figures{Messages: int64(counts)}
		}})
		if err != nil {
			t.Fatal(err)
		}
		ask := func() int64 { return c.Identity(c.proof, false, false).(probed).Figures.Messages }
		for range 50 {
			if n := ask(); n != 1 {
				t.Fatalf("the figures of count %d, want the first", n)
			}
		}
		time.Sleep(figuresTime)
		if n := ask(); n != 2 {
			t.Errorf("later they are those of count %d, want the second", n)
		}
		if f := c.Identity("another server's", false, true).(probed).Figures; f != nil {
			t.Errorf("told to a stranger: %+v", f)
		}
	})
}

// What a server tells of itself and others is taken if a server can have it, and of so many as there may be.
func TestFiguresThatNoServerHasAreNotTaken(t *testing.T) {
	good := &Figures{Messages: 1, In: 1.5, DiskFree: -1}
	for what, f := range map[string]*Figures{
		"negative": {Messages: -1}, "too many": {Bytes: maxRevision + 1}, "a negative rate": {Out: -1}, "a rate beyond all": {In: 1e300}, "the time": {Uptime: 1 << 62},
	} {
		if f.sound() != nil {
			t.Errorf("%s is taken", what)
		}
	}
	l := newLink(&Cluster{}, Address{Address: "10.0.0.1:15555"})
	answer := &probed{Figures: good, Others: []figuresOf{
		{Address: Address{Address: "10.0.0.2:15555"}, Age: 1000, Figures: good},
		{Address: Address{Address: "10.0.0.3:15555"}, Age: -1, Figures: good},
		{Address: Address{Address: "10.0.0.4:15555"}, Age: 1 << 62, Figures: good},
		{Address: Address{Address: "no address"}, Figures: good},
		{Address: Address{Address: "10.0.0.5:15555"}, Figures: &Figures{In: 1e300}},
		{Address: Address{Address: "10.0.0.6:15555"}},
	}}
	l.heardOf(answer)
	if l.figures.Figures != good || len(l.relayed) != 3 || l.relayed[answer.Others[0].Address].Figures != good || l.relayed[answer.Others[4].Address].Figures != nil {
		t.Errorf("%+v, and of others %+v", l.figures, l.relayed)
	}
	for range 2 * maxMembers {
		answer.Others = append(answer.Others, answer.Others[0])
	}
	for i := range answer.Others {
		answer.Others[i].Address.Address = "10.0.0.2:" + string(rune('1'+i%9)) + string(rune('0'+i/9%10)) + string(rune('0'+i/90))
		answer.Others[i].Age = 0
	}
	if l.heardOf(answer); len(l.relayed) != maxMembers {
		t.Errorf("the figures of %d others are kept, want %d", len(l.relayed), maxMembers)
	}
}
