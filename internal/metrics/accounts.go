package metrics

import "github.com/rushmore/zbus-go/internal/access"

// mostAccounts are shown at most, in the order of their names: each is six series.
const mostAccounts = 1000

// accountFigures are the series of an account, by what is counted.
func accountFigures() []figure {
	return []figure{
		access.Published:      {kind: counter, name: "zbus_account_published_messages_total", help: "Messages that the account has published, and calls."},
		access.PublishedBytes: {kind: counter, name: "zbus_account_published_bytes_total", help: "Bytes of their bodies."},
		access.Delivered:      {kind: counter, name: "zbus_account_delivered_messages_total", help: "Messages delivered to the account."},
		access.DeliveredBytes: {kind: counter, name: "zbus_account_delivered_bytes_total", help: "Bytes of their bodies."},
		access.RefusedByLimit: {kind: counter, name: "zbus_account_refused_total", help: "Publishes, connections, calls and topics refused by a limit of the account."},
		access.Connected:      {kind: gauge, name: "zbus_account_connections", help: "Connections that stay open: native, WebSockets and streams."},
	}
}

// writeAccounts writes the series of accounts that have connected.
func (h *handler) writeAccounts(w text) {
	all := h.Accounts(mostAccounts)
	if len(all) == 0 {
		return
	}
	for i, f := range accountFigures() {
		w.head(f.name, f.kind, f.help)
		for n := range all {
			w.value(f.name, labels("account", all[n].Account), float64(all[n].Counts[i]))
		}
	}
}
