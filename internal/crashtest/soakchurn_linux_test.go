package crashtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/wire"
)

// visitors are the clients that come and go in a soak. Each does all it does in one turn,
// and between two turns it has nothing open.
func (s *soak) visitors() []func(turn string) error {
	return []func(string) error{s.visitTopics, s.visitPlans, s.visitEvents, s.visitSocket, s.visitCalls}
}

// churn lets one kind of visitor come and go.
func (s *soak) churn(visit func(turn string) error, turns *int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s.busy.RLock()
		err := visit(strconv.Itoa(*turns))
		s.busy.RUnlock()
		if *turns++; err != nil {
			s.p.t.Errorf("turn %d: %v", *turns, err)
			return
		}
		select {
		case <-tick.C:
		case <-s.stop:
			return
		}
	}
}

// visitTopics creates and removes topics and groups, and ends connections in both ways
// there are.
func (s *soak) visitTopics(turn string) error {
	c, err := connect(s.p.t, s.p.address)
	if err != nil {
		return err
	}
	defer c.Close()
	name := "soak-" + turn
	for _, t := range []string{name, topic} {
		if _, err := c.ask(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, t), field(wire.HeaderConsumeGroup, name)); err != nil {
			return err
		}
	}
	reader, err := connect(s.p.t, s.p.address)
	if err != nil {
		return err
	}
	defer reader.Close()
	if err := reader.consumeFrom(name, name, 10); err != nil {
		return err
	}
	if _, err := c.ask(field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, name), field(wire.HeaderAck, "true")); err != nil {
		return err
	}
	if _, err := reader.r.Read(); err != nil {
		return err
	}
	if _, err := c.ask(field(wire.HeaderCmd, wire.CmdRemove), field(wire.HeaderTopic, topic), field(wire.HeaderConsumeGroup, name)); err != nil {
		return err
	}
	_ = reader.Conn.(*net.TCPConn).SetLinger(0) // this one ends with a reset
	_, err = c.ask(field(wire.HeaderCmd, wire.CmdRemove), field(wire.HeaderTopic, name))
	return err
}

// visitPlans plans a move, applies every other plan, and removes the group.
func (s *soak) visitPlans(turn string) error {
	groups, name := "/topics/"+topic+"/groups", "plan-"+turn
	if err := s.ask("POST", groups, `{"name":"`+name+`"}`, http.StatusCreated, nil); err != nil {
		return err
	}
	var plan struct{ ID string }
	if err := s.ask("POST", groups+"/"+name+"/plans", `{"to":"latest"}`, http.StatusCreated, &plan); err != nil {
		return err
	}
	if strings.HasSuffix(turn, "1") {
		if err := s.ask("POST", "/plans/"+plan.ID+":apply", "{}", http.StatusOK, nil); err != nil {
			return err
		}
	}
	return s.ask("DELETE", groups+"/"+name, "", http.StatusNoContent, nil)
}

// visitEvents reads a stream until a message has come. It publishes that itself: others may
// rest.
func (s *soak) visitEvents(string) error {
	req, err := http.NewRequestWithContext(s.p.t.Context(), http.MethodGet, "http://"+s.p.address+"/api/v1/topics/"+topic+"/events", nil)
	if err != nil {
		return err
	}
	resp, err := s.web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := s.ask("POST", "/topics/"+topic+"/messages", "{}", http.StatusCreated, nil); err != nil {
		return err
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data:") {
			return nil
		}
	}
	return errors.New("the stream ended before a message")
}

// visitSocket subscribes on a WebSocket until a message has come, and leaves in the middle.
func (s *soak) visitSocket(turn string) error {
	ctx := s.p.t.Context()
	ws := s.p.dialSocket()
	defer func() { _ = ws.CloseNow() }()
	frame := fmt.Sprintf(`{"op":"subscribe","topic":%q,"window":10}`, topic)
	if err := ws.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		return err
	}
	for n := range 2 { // the answer, and a message
		if _, _, err := ws.Read(ctx); err != nil {
			return err
		}
		if n == 0 {
			if err := s.ask("POST", "/topics/"+topic+"/messages", "{}", http.StatusCreated, nil); err != nil {
				return err
			}
		}
	}
	if strings.HasSuffix(turn, "1") {
		return ws.Close(websocket.StatusNormalClosure, "")
	}
	return nil
}

// serviceTopic is where the calls of a soak go.
const serviceTopic = "soak-calls"

// visitCalls provides a method of its own, which is called once. Some providers leave while
// they have the call.
func (s *soak) visitCalls(turn string) error {
	p, err := connect(s.p.t, s.p.address)
	if err != nil {
		return err
	}
	defer p.Close()
	if _, err := p.ask(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, serviceTopic), field(wire.HeaderTopicMask, "2")); err != nil {
		return err
	}
	p.put(nil, field(wire.HeaderCmd, wire.CmdConsume), field(wire.HeaderTopic, serviceTopic), field(wire.HeaderWindow, "10"))
	if _, err := p.ask(field(wire.HeaderCmd, wire.CmdPing)); err != nil {
		return err
	}
	leaves := strings.HasSuffix(turn, "1")
	provided := make(chan error, 1)
	go func() { provided <- provide(p, leaves) }()
	status := http.StatusOK
	if leaves {
		status = http.StatusBadGateway
	}
	err = s.ask("POST", "/rpc/"+serviceTopic+"/method-"+turn, "[]", status, nil)
	return errors.Join(err, <-provided)
}

// provide answers one call, or leaves with it.
func provide(p *conn, leaves bool) (err error) {
	call, err := p.r.Read()
	if err != nil || leaves {
		return errors.Join(err, p.Close())
	}
	// It is to be gone when its turn is over: the next call would be given to it otherwise.
	defer func() { err = errors.Join(err, leave(p)) }()
	p.put([]byte(`{"result":1}`), field(wire.HeaderCmd, wire.CmdRoute), field(wire.HeaderRecver, call.Get(wire.HeaderSender)),
		field(wire.HeaderID, call.Get(wire.HeaderOriginID)), field("content-type", "application/json"))
	return p.w.Flush()
}

// leave ends a connection, and waits until the broker has ended it, too.
func leave(p *conn) error {
	if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, p.Conn)
	return err
}

// ask asks the HTTP API, and wants this status.
func (s *soak) ask(method, path, body string, want int, v any) error {
	req, err := http.NewRequestWithContext(s.p.t.Context(), method, "http://"+s.p.address+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s %s: %s %s", method, path, resp.Status, text)
	}
	if err != nil || v == nil {
		return err
	}
	return json.Unmarshal(text, v)
}
