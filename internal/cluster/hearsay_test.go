package cluster

import (
	"slices"
	"testing"
)

// What a server has said is one object, no matter which tracker told of it. It is one server all the same: also
// when it has joined and trackers list it, and when two trackers do.
func TestServerThatSeveralTellOfIsOne(t *testing.T) {
	at := func(address string) *Info {
		return &Info{Address: Address{Address: address}, topics: []topicText{{Topic: Topic{Name: "orders"}, lower: "orders"}}}
	}
	joined, heard := at("10.0.0.2:15555"), at("10.0.0.3:15555")
	c := &Cluster{
		progressed: make(chan struct{}),
		members:    map[string]*member{"joined": {address: joined.Address, info: joined, up: true, proved: true}},
		links:      []*link{{self: true, lists: []*Info{joined, heard}}, {self: true, lists: []*Info{heard, joined}}},
	}
	c.mu.Lock()
	c.enlist()
	c.mu.Unlock()
	want := []string{joined.Address.Address, heard.Address.Address}
	var got, topics []string
	for _, s := range c.Servers() {
		got = append(got, s.Address.Address)
	}
	c.EachTopic(func(s *Server, _ *Topic) { topics = append(topics, s.Address.Address) })
	if !slices.Equal(got, want) || !slices.Equal(topics, want) {
		t.Errorf("servers %q, of their topics %q; want %q", got, topics, want)
	}
}
