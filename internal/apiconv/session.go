package apiconv

import (
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/storage"
)

// SessionInfo describes one connection.
type SessionInfo struct {
	ID, Remote    string
	Protocol      string // see the contract
	Since, Active time.Time
	In, Out       int64
	Subscriptions []SubscriptionInfo
}

// SubscriptionInfo describes one subscription of a connection.
type SubscriptionInfo struct {
	Topic, Group     string
	Credit, InFlight int64
}

// Session describes a connection.
func Session(s SessionInfo) apimodel.Session {
	d := apimodel.Session{
		Id: s.ID, Remote: s.Remote, Protocol: apimodel.Protocol(s.Protocol), Since: s.Since.UTC().Truncate(time.Millisecond),
		Idle: max(0, time.Since(s.Active).Milliseconds()), In: Count(s.In), Out: Count(s.Out),
	}
	d.Subscriptions = make([]apimodel.Subscription, 0, len(s.Subscriptions))
	for _, sub := range s.Subscriptions {
		d.Subscriptions = append(d.Subscriptions, apimodel.Subscription{
			Topic: sub.Topic, Group: sub.Group, Credit: Count(sub.Credit), InFlight: Count(sub.InFlight),
		})
	}
	return d
}

// AuditEntry describes an administrative action.
func AuditEntry(e storage.AuditEntry) apimodel.AuditEntry {
	return apimodel.AuditEntry{
		Id: strconv.FormatInt(e.ID, 10), Time: Time(e.Time), Actor: e.Actor.Name, Address: Optional(e.Actor.Address), Token: Optional(e.Actor.Token), Action: e.Action, Target: e.Target, Detail: e.Detail,
	}
}
