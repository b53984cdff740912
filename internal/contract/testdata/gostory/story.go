// Command gostory uses a broker by the Go client that is generated from openapi.yaml, which the
// test of this generates: the package goclient is in no file of the tree.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"reflect"

	generated "github.com/rushmore/zbus-go/internal/contract/goclient"
)

func main() {
	c, err := generated.NewClientWithResponses(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	s := &story{tester{}, context.Background(), c, "go:orders", "billing"}
	s.begin()
	s.publishAndBrowse()
	first := s.pull(3)
	equal(s.t, "pulled", offsetsOf(first), []string{"0", "1", "2"})
	s.ack(first)
	s.moveAndRevert()
	fmt.Println("the end")
}

// tester ends the program when something is not as it should be.
type tester struct{}

func (tester) Fatal(args ...any)                 { log.Fatal(args...) }
func (tester) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }

// story is told by a client that was generated from the document.
type story struct {
	t            tester
	ctx          context.Context
	c            *generated.ClientWithResponses
	topic, group string
}

// must gives the answer to a call that has to succeed: answer is the member for the
// status that is wanted, nil when another came.
func must[T any](s *story, err error, body []byte, answer *T) *T {
	if err != nil || answer == nil {
		s.t.Fatalf("%v %s", err, body)
	}
	return answer
}

func equal[T any](t tester, what string, got, want T) {
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func offsetsOf(list []generated.Delivery) (all []string) {
	for _, d := range list {
		all = append(all, d.Offset)
	}
	return all
}

func (s *story) begin() {
	r, err := s.c.CreateTopicWithResponse(s.ctx, generated.NewTopic{Name: s.topic})
	if err != nil {
		s.t.Fatal(err)
	}
	equal(s.t, "topic", must(s, err, r.Body, r.JSON201).Name, s.topic)
	if r, err = s.c.CreateTopicWithResponse(s.ctx, generated.NewTopic{Name: s.topic}); err != nil {
		s.t.Fatal(err)
	}
	equal(s.t, "code of the second", must(s, err, r.Body, r.ApplicationproblemJSONDefault).Code, "exists")

	explicit, start := generated.SettleMode("explicit"), generated.Position{}
	if err := start.FromPosition0("earliest"); err != nil {
		s.t.Fatal(err)
	}
	g, err := s.c.CreateGroupWithResponse(s.ctx, s.topic, generated.NewGroup{Name: s.group, Settle: &explicit, Start: &start})
	if err != nil {
		s.t.Fatal(err)
	}
	equal(s.t, "cursor", must(s, err, g.Body, g.JSON201).Cursor, "0")
}

func (s *story) publishAndBrowse() {
	one, two, raw := "one", "two", []byte{0xff}
	var messages generated.NewMessages
	err := messages.FromNewMessages1([]generated.NewMessage{{Body: &one}, {Body: &two, Headers: &map[string]string{"trace": "7"}}, {BodyBase64: &raw}})
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := s.c.PublishWithResponse(s.ctx, s.topic, messages)
	if err != nil {
		s.t.Fatal(err)
	}
	equal(s.t, "offset of the third", must(s, err, p.Body, p.JSON201).Results[2].Offset, "2")

	back := generated.BrowseMessagesParamsDir("prev")
	b, err := s.c.BrowseMessagesWithResponse(s.ctx, s.topic, &generated.BrowseMessagesParams{Dir: &back})
	if err != nil {
		s.t.Fatal(err)
	}
	seen := must(s, err, b.Body, b.JSON200).Messages
	if len(seen) != 3 {
		s.t.Fatalf("%d messages", len(seen))
	}
	equal(s.t, "newest", *seen[0].BodyBase64, raw)
	equal(s.t, "header", seen[1].Headers["trace"], "7")
}

func (s *story) pull(most int) []generated.Delivery {
	wait := 5000
	r, err := s.c.PullWithResponse(s.ctx, s.topic, s.group, generated.PullRequest{Max: &most, Timeout: &wait})
	if err != nil {
		s.t.Fatal(err)
	}
	return must(s, err, r.Body, r.JSON200).Deliveries
}

func (s *story) ack(list []generated.Delivery) {
	var handles generated.Handles
	for _, d := range list {
		handles.Handles = append(handles.Handles, *d.Handle)
	}
	r, err := s.c.AckWithResponse(s.ctx, s.topic, s.group, handles)
	if err != nil {
		s.t.Fatal(err)
	}
	equal(s.t, "settled", must(s, err, r.Body, r.JSON200).Settled, len(list))
}

func (s *story) moveAndRevert() {
	var to generated.Position
	if err := to.FromPosition1(generated.Position1{MessageId: ptr(s.idOf(1))}); err != nil {
		s.t.Fatal(err)
	}
	p, err := s.c.PlanRelocationWithResponse(s.ctx, s.topic, s.group, generated.PlanRequest{To: to})
	if err != nil {
		s.t.Fatal(err)
	}
	plan := must(s, err, p.Body, p.JSON201)
	equal(s.t, "plan", []string{plan.From, plan.To, plan.Again, plan.Matching}, []string{"3", "1", "2", "2"})

	a, err := s.c.ApplyPlanWithResponse(s.ctx, plan.Id, generated.Because{Reason: ptr("once more")})
	if err != nil {
		s.t.Fatal(err)
	}
	moved := must(s, err, a.Body, a.JSON200)
	equal(s.t, "cursor", moved.Group.Cursor, "1")
	equal(s.t, "pulled again", offsetsOf(s.pull(3)), []string{"1", "2"})

	r, err := s.c.RevertWithResponse(s.ctx, moved.Entry.Id, generated.Because{})
	if err != nil {
		s.t.Fatal(err)
	}
	equal(s.t, "cursor after the revert", must(s, err, r.Body, r.JSON200).Group.Cursor, "3")
}

// idOf is the id of the message at an offset.
func (s *story) idOf(offset int) string {
	r, err := s.c.GetMessageWithResponse(s.ctx, s.topic, fmt.Sprint(offset))
	if err != nil {
		s.t.Fatal(err)
	}
	return must(s, err, r.Body, r.JSON200).Id
}

func ptr[T any](v T) *T { return &v }
