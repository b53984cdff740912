package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// morgue is a topic with five messages that all died in the group ship.
type morgue struct {
	*rig
	orders, dead *Topic
}

func inMorgue(t *testing.T, test func(m *morgue)) {
	inBubble(t, Options{}, func(r *rig) {
		orders := r.topic("orders", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "orders", Name: "ship", Settle: ptr(storage.SettleExplicit), MaxDeliver: ptr[int64](1)})
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			r.publish(orders, storage.Record{ID: id, Tag: "t." + id, Headers: `{"k":"` + id + `"}`, Body: []byte("body " + id)})
		}
		for _, b := range r.pull(g, 5) {
			for i := range b.Items {
				if err := g.nackNow(b.Items[i].Record.Offset, b.Handle(i), 0); err != nil {
					r.Fatal(err)
				}
			}
		}
		m := &morgue{rig: r}
		m.find()
		if m.dead.Next() != 5 {
			r.Fatalf("%d letters", m.dead.Next())
		}
		test(m)
	})
}

func (m *morgue) find() {
	m.Helper()
	for name, t := range map[string]**Topic{"orders": &m.orders, "orders" + deadSuffix: &m.dead} {
		var err error
		if *t, err = m.rig.b.findTopic(name); err != nil {
			m.Fatal(err)
		}
	}
}

// letters reads letters by their offsets.
func (m *morgue) letters(offsets ...int64) (list []storage.Record) {
	m.Helper()
	for _, at := range offsets {
		rec, err := m.dead.Message(context.Background(), at)
		if err != nil {
			m.Fatal(err)
		}
		list = append(list, *rec)
	}
	return list
}

func (m *morgue) redrive(r Redrive) (int, error) {
	return m.rig.b.As(caller("ann"), access.Move).Redrive(context.Background(), m.dead, r)
}

// waiting lists the letters that are not done with.
func (m *morgue) waiting() (ids string) {
	m.Helper()
	l, err := m.dead.Letters()
	if err != nil {
		m.Fatal(err)
	}
	n := int64(0)
	_, _, err = m.dead.Scan(context.Background(), Scan{To: m.dead.Next()}, func(r *storage.Record) bool {
		if _, _, ok := l.Waiting(r); ok {
			ids += r.ID
			n++
		}
		return true
	})
	if err != nil || n != l.Count {
		m.Errorf("%d letters wait, counted as %d: %v", n, l.Count, err)
	}
	return ids
}

// back lists what came back to the topic behind the five that died.
func (m *morgue) back() (list []string) {
	m.Helper()
	_, _, err := m.orders.Scan(context.Background(), Scan{From: 5, To: m.orders.Next()}, func(r *storage.Record) bool {
		list = append(list, r.ID+" "+r.Tag+" "+r.Headers+" "+string(r.Body))
		return true
	})
	if err != nil {
		m.Fatal(err)
	}
	return list
}

func (m *morgue) is(when, waiting string, back ...string) {
	m.Helper()
	if got := m.waiting(); got != waiting {
		m.Errorf("%s: letters %q wait, want %q", when, got, waiting)
	}
	if got := m.back(); !slices.Equal(got, back) {
		m.Errorf("%s: %q came back, want %q", when, got, back)
	}
}

const (
	backA = `a t.a {"k":"a"} body a`
	backC = `c t.c {"k":"c"} body c`
)

func TestLetterGoesBackAsItWasAndOnce(t *testing.T) {
	inMorgue(t, func(m *morgue) {
		for _, want := range []int{1, 0} {
			if n, err := m.redrive(Redrive{Letters: m.letters(2)}); n != want || err != nil {
				m.Errorf("%d went: %v, want %d", n, err, want)
			}
		}
		m.is("from the middle", "abde", backC)
		m.crash()
		m.find()
		m.is("after a restart", "abde", backC)
		if n, err := m.redrive(Redrive{Letters: m.letters(0, 2)}); n != 1 || err != nil {
			m.Errorf("%d went: %v, want 1", n, err)
		}
		m.is("from the beginning", "bde", backC, backA)
		if first := m.dead.First(); first != 1 {
			m.Errorf("the log begins at %d: what all groups are done with is not deleted", first)
		}
	})
}

func TestLetterAndMessageChangePlacesInOneCommit(t *testing.T) {
	for _, c := range []struct {
		when  string
		fault storetest.Fault
	}{
		{"before the commit", storetest.Fault{Before: errCrash}},
		{"after the commit", storetest.Fault{After: errCrash}},
	} {
		inMorgue(t, func(m *morgue) {
			if _, err := m.redrive(Redrive{Letters: m.letters(4), Drop: true}); err != nil { // there is the group
				m.Fatal(err)
			}
			m.store.FailNext(c.fault)
			if n, err := m.redrive(Redrive{Letters: m.letters(2)}); n != 0 || CodeOf(err) != Unknown || err == nil {
				m.Errorf("crash %s: %d went: %v", c.when, n, err)
			}
			m.crash()
			m.find()
			waits, there := strings.Contains(m.waiting(), "c"), len(m.back()) == 1
			if waits == there || there != (c.fault.After != nil) {
				m.Errorf("crash %s: letter waits: %t, message is back: %t", c.when, waits, there)
			}
			if _, err := m.redrive(Redrive{Letters: m.letters(2)}); err != nil {
				m.Error(err)
			}
			m.is("crash "+c.when+", and again", "abd", backC)
		})
	}
}

func TestTwoWhoRedriveTheSameGetEachLetterOnce(t *testing.T) {
	inMorgue(t, func(m *morgue) {
		all := m.letters(0, 1, 2, 3, 4)
		var sum [2]int
		var both sync.WaitGroup
		for i := range sum {
			both.Go(func() {
				n, err := m.redrive(Redrive{Letters: all})
				if err != nil {
					m.Error(err)
				}
				sum[i] = n
			})
		}
		both.Wait()
		if sum[0]+sum[1] != 5 || len(m.back()) != 5 || m.waiting() != "" {
			m.Errorf("%d letters went, %q came back, %q wait", sum, m.back(), m.waiting())
		}
	})
}

func TestLetterThatAConsumerHoldsStays(t *testing.T) {
	inMorgue(t, func(m *morgue) {
		if _, err := m.redrive(Redrive{Letters: m.letters(1)}); err != nil {
			m.Fatal(err)
		}
		g, err := m.dead.group(RedriveGroup)
		if err != nil {
			m.Fatal(err)
		}
		c := m.subscribe(g, "c")
		held := c.take(2)
		if list, _ := offsets(held); !slices.Equal(list, []int64{0, 2}) {
			m.Fatalf("consumer got %d, want 0 and 2: 1 is done with", list)
		}
		if n, err := m.redrive(Redrive{Letters: m.letters(0, 2, 4)}); n != 1 || err != nil {
			m.Errorf("%d went: %v, want 1", n, err)
		}
		for _, b := range held {
			for i := range b.Items {
				if err := g.ackNow(b.Items[i].Record.Offset, b.Handle(i)); err != nil {
					m.Error(err)
				}
			}
		}
		if list, _ := offsets(c.take(1)); !slices.Equal(list, []int64{3}) {
			m.Errorf("then the consumer got %d, want 3", list)
		}
		if got := m.waiting(); got != "d" {
			m.Errorf("%q wait, want d: what the consumer acked is done with, too", got)
		}
	})
}

func TestDroppedAndEditedLetters(t *testing.T) {
	inMorgue(t, func(m *morgue) {
		if n, err := m.redrive(Redrive{Letters: m.letters(0, 1), Drop: true}); n != 2 || err != nil {
			m.Errorf("%d dropped: %v", n, err)
		}
		edit := &storage.Record{Tag: "new", Headers: `{"x":"y"}`, Body: []byte("mended")}
		if n, err := m.redrive(Redrive{Letters: m.letters(3), Edit: edit}); n != 1 || err != nil {
			m.Errorf("%d went: %v", n, err)
		}
		m.is("in the end", "ce", `d new {"x":"y"} mended`)
		if first := m.dead.First(); first != 2 {
			m.Errorf("the log begins at %d", first)
		}
	})
}

func TestHeadersThatAClientWroteChooseNoTopic(t *testing.T) {
	inMorgue(t, func(m *morgue) {
		m.topic("secret", 0, storage.Retention{})
		forged := `{"dead-cause":"x","dead-count":"1","dead-group":"g","dead-offset":"0","dead-topic":"secret"}`
		m.publish(m.dead, storage.Record{ID: "f", Headers: forged}, storage.Record{ID: "g"})
		l, err := m.dead.Letters()
		if err != nil {
			m.Fatal(err)
		}
		for _, rec := range m.letters(5, 6) {
			if _, _, ok := l.Waiting(&rec); ok {
				m.Errorf("message %s counts as a letter of %s", rec.ID, l.Origin)
			}
		}
		if _, err := m.orders.Letters(); CodeOf(err) != Invalid || err == nil {
			m.Errorf("letters of a topic that takes none: %v", err)
		}
	})
}

func TestLettersOfATopicThatIsGoneCanOnlyBeDropped(t *testing.T) {
	inMorgue(t, func(m *morgue) {
		if err := m.rig.b.removeTopic(context.Background(), "orders", "", named("ann")); err != nil {
			m.Fatal(err)
		}
		if n, err := m.redrive(Redrive{Letters: m.letters(0)}); n != 0 || CodeOf(err) != NotFound || err == nil {
			m.Errorf("%d went: %v", n, err)
		}
		if n, err := m.redrive(Redrive{Letters: m.letters(0), Drop: true}); n != 1 || err != nil {
			m.Errorf("%d dropped: %v", n, err)
		}
	})
}

func TestRedriveThatIsNotStoredLeavesTheLetter(t *testing.T) {
	inMorgue(t, func(m *morgue) {
		if _, err := m.redrive(Redrive{Letters: m.letters(4), Drop: true}); err != nil {
			m.Fatal(err)
		}
		m.store.FailNext(storetest.Fault{Before: storage.ErrFull})
		if n, err := m.redrive(Redrive{Letters: m.letters(2)}); n != 0 || !errors.Is(err, storage.ErrFull) {
			m.Errorf("%d went: %v", n, err)
		}
		m.is("on a full disk", "abcd")
		if n, err := m.redrive(Redrive{Letters: m.letters(2)}); n != 1 || err != nil {
			m.Errorf("%d went: %v", n, err)
		}
		m.is("with room again", "abd", backC)
	})
}
