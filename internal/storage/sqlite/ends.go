package sqlite

import (
	"errors"
	"fmt"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// The row of a topic says how far its log was when the row was written. What is lost of
// the end of a log, without a trace in the blocks, is found out by comparing the two:
// see loaded.go. So the rows are brought up to date now and then, and at the end.
const (
	endsEvery = 10 * time.Second
	endsStep  = 64 // topics in one go, which takes well under a millisecond
)

// ends is what is left to do of a round.
type ends struct {
	behind []*topic
	last   time.Time // when the round began
}

// storeEnds stores how far topics are, a few of them. No publisher waits for it to be on disk.
func (s *Store) storeEnds(now time.Time) error {
	if len(s.ends.behind) == 0 {
		if now.Sub(s.ends.last) < endsEvery {
			return nil
		}
		s.ends.last = now
		for _, t := range s.catalog.Topics {
			if t.Next != t.Stored && !t.Damaged {
				s.ends.behind = append(s.ends.behind, t)
			}
		}
	}
	n := min(len(s.ends.behind), endsStep)
	if n == 0 {
		return nil
	}
	step := s.ends.behind[:n]
	s.ends.behind = s.ends.behind[n:]
	return s.storeEndsOf(step)
}

// storeAllEnds is storeEnds for all topics.
func (s *Store) storeAllEnds() error {
	s.ends = ends{}
	for more := true; more; more = len(s.ends.behind) > 0 {
		if err := s.storeEnds(time.Now()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) storeEndsOf(topics []*topic) error {
	defer s.catalog.Forget()
	err := s.transaction(func() error {
		defer s.batch.empty()
		for _, t := range topics {
			s.batch.Store(t)
		}
		return s.batch.storeMarks(s.writer)
	})
	if errors.Is(translate(err), storage.ErrFull) {
		return nil // the next round tries again
	}
	if err != nil {
		return fmt.Errorf("store the ends of logs: %w", translate(err))
	}
	return nil
}
