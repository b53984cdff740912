package rpc

import (
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// Service is what is known of the calls to one topic.
type Service struct {
	table *Table
	name  string

	// All below is guarded by Table.mu.
	waiting   list
	inFlight  int
	providers []*Provider // those that take calls, in the order they came
	methods   map[string]*method
	taken     Taken // since TakeEnded
}

// Taken is what became of the calls of a service in some time.
type Taken struct {
	Answered, Failed int64         // Failed: without an answer, or with a status of 400 or more
	Took, Longest    time.Duration // of the answered ones, together and the longest
}

// TakeEnded is what became of the calls that ended since it was last called, and how many wait
// for a provider now. It is for one caller.
func (s *Service) TakeEnded() (taken Taken, waiting int) {
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	taken, s.taken = s.taken, Taken{}
	return taken, s.waiting.n
}

// ended counts a call that is over. Called with the lock held.
func (s *Service) ended(o Outcome, took time.Duration) {
	switch o {
	case Answered:
		s.taken.Answered++
		s.taken.Took += took
		s.taken.Longest = max(s.taken.Longest, took)
	case Unavailable, TimedOut, ProviderGone:
		s.taken.Failed++
	case Abandoned, outcomes:
	}
}

// Find is the service behind a topic, or nil.
func (t *Table) Find(topic string) *Service {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.services[topic]
}

// maxMethods bounds how many methods of a service have figures of their own, so that
// callers who make names up do not fill the memory. The others are counted together,
// as are names that are no text.
const (
	maxMethods   = 500
	maxMethod    = 200 // bytes of a name
	otherMethods = "…"
)

// Name is the topic's name.
func (s *Service) Name() string { return s.name }

// Service finds the service behind a topic, or makes it.
func (t *Table) Service(topic string) *Service {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.services[topic]
	if s == nil {
		s = &Service{table: t, name: topic, methods: make(map[string]*method)}
		t.services[topic] = s
	}
	return s
}

// Forget drops the figures of services whose topic is gone.
func (t *Table) Forget(exists func(topic string) bool) {
	for _, s := range t.list() {
		if exists(s.name) {
			continue
		}
		t.mu.Lock()
		if t.services[s.name] == s && s.waiting.n == 0 && s.inFlight == 0 && len(s.providers) == 0 {
			delete(t.services, s.name)
		}
		t.mu.Unlock()
	}
}

func (t *Table) list() []*Service {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*Service, 0, len(t.services))
	for _, s := range t.services {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Service) int { return strings.Compare(a.name, b.name) })
	return all
}

// methodOf finds the figures of a method, or begins them. Called with the lock held.
func (s *Service) methodOf(name string) *method {
	m := s.methods[name]
	if m != nil {
		return m
	}
	if len(s.methods) >= maxMethods || len(name) > maxMethod || !utf8.ValidString(name) {
		name = otherMethods
	}
	if m = s.methods[name]; m == nil {
		name = strings.Clone(name)
		m = &method{name: name}
		s.methods[name] = m
	}
	return m
}

// ServiceFigures is a snapshot of a service.
type ServiceFigures struct {
	Topic     string
	Waiting   int // calls that no provider has got yet
	InFlight  int // calls that providers work on
	Providers []ProviderFigures
	Methods   []MethodFigures // by name; "" is calls whose method was not told
}

// ProviderFigures is a snapshot of a provider.
type ProviderFigures struct {
	Session  string
	Remote   string
	Since    time.Time
	Given    uint64 // calls that it got
	Answered uint64 // of these
	InFlight int
	Overdue  int // calls that ended without it since it last answered
	*Description
}

// Figures are the snapshots of all services by name, each taken at one moment.
func (t *Table) Figures() []ServiceFigures {
	services := t.list()
	all := make([]ServiceFigures, len(services))
	for i, s := range services {
		all[i] = s.Figures()
	}
	return all
}

// Figures is a snapshot of the service.
func (s *Service) Figures() ServiceFigures {
	t := s.table
	now := t.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	f := ServiceFigures{Topic: s.name, Waiting: s.waiting.n, InFlight: s.inFlight}
	for _, q := range s.providers {
		f.Providers = append(f.Providers, ProviderFigures{
			Session: q.peer.id, Remote: q.peer.remote, Since: t.start.Add(time.Duration(q.since)),
			Given: q.given, Answered: q.answered, InFlight: q.inFlight, Overdue: len(q.peer.overdue),
			Description: q.peer.described[s],
		})
	}
	for _, m := range s.methods {
		f.Methods = append(f.Methods, m.figures(t, now))
	}
	sort.Slice(f.Methods, func(i, j int) bool { return f.Methods[i].Name < f.Methods[j].Name })
	return f
}
