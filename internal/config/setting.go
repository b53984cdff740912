package config

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// setting is one row of the table that flags, environment, file, help and
// validation share.
type setting struct {
	name  string // of the flag and of the key in the file
	arg   string // for help: what the flag takes
	usage string
	value value
}

// settings is that table, with its values placed in c.
func settings(c *Config) []setting {
	return []setting{
		{"listen", "HOST:PORT", "where to accept connections; may be repeated", list{
			&c.Listen, isAddress,
			"HOST:PORT, such as 127.0.0.1:15555; several have commas between and differ",
			false,
		}},
		{"insecure", "", "allow listening beyond the loopback interface without TLS, and by all clients", toggle{&c.Insecure}},
		{
			"auth", "MODE", "whether who connects has to say who it is: on, off, or auto: with the first account, and beyond loopback",
			choice[Auth]{&c.Auth, []Auth{AuthOn, AuthOff, AuthAuto}},
		},
		{"data", "DIR", "directory of the messages, created when missing", text{&c.Data, isGiven, "a directory"}},
		{
			"store", "URL", "PostgreSQL database to keep everything in instead, such as postgres://zbus@db1,db2/zbus",
			secret{text{&c.Store, orEmpty(isStore), "a URL such as postgres://USER@HOST,HOST/DATABASE, or empty"}},
		},
		{"node", "NAME", "the broker's name among those that use the store (default: the machine's)", text{&c.Node, isAny, ""}},
		{
			"durability", "MODE", "an answered publish survives power loss (fsync) or only a killed process (relaxed)",
			choice[Durability]{&c.Durability, []Durability{Fsync, Relaxed}},
		},
		{
			"sync-interval", "DURATION", "what power loss may cost in relaxed mode",
			duration{&c.SyncInterval, 10 * time.Millisecond, 10 * time.Second, ""},
		},
		{
			"disk-floor", "SIZE", "space that has to be left for messages to be taken; 0 for a tenth of the disk, at most 256MiB",
			size{&c.DiskFloor, 0, 1 << 40},
		},
		{
			"dedup-window", "DURATION", "how long ids of messages published over HTTP or with dedup are known; 0 for not at all",
			duration{&c.DedupWindow, time.Second, 24 * time.Hour, "not at all"},
		},
		{
			"accept-loss", "ID", "start although this is missing; a refused start names the ID",
			text{&c.AcceptLoss, orEmpty(isLoss), "the ID that a refused start has named, such as 1a2b3c4d"},
		},
		{
			"scrub-every", "DURATION", "time between two checks of everything that is stored; 0 for none",
			duration{&c.ScrubEvery, time.Minute, 8760 * time.Hour, "none"},
		},
		{
			"backup-every", "DURATION", "time between two backups that the broker takes by itself; 0 for none",
			duration{&c.BackupEvery, time.Minute, 8760 * time.Hour, "none"},
		},
		{"backup-keep", "NUMBER", "how many of these backups stay", number{&c.BackupKeep, 1, 10000, ""}},
		{"backup-dir", "DIR", "where they are; better on another disk (default: backups in the data directory)", text{&c.BackupDir, isAny, ""}},
		{
			"clock-hold", "DURATION", "how long nothing is deleted by age after the clock jumped by more than 5m",
			duration{&c.ClockHold, time.Minute, 7 * 24 * time.Hour, ""},
		},
		{
			"advertise", "HOST:PORT", "what clients and other servers are told to connect to (default: where it listens)",
			text{&c.Advertise, orEmpty(isDialable), "HOST:PORT that others can connect to, or empty"},
		},
		{
			"tracker", "HOST:PORT", "server to join as one of several; may be repeated, name the same ones everywhere",
			trackers{list{
				&c.Trackers, isTracker,
				"HOST:PORT that can be connected to, or [SSL]HOST:PORT for one with TLS; several have ; or commas between and differ, and are at most 16",
				true,
			}},
		},
		{"tracker-only", "", "leave this server out of the servers that clients are told of", toggle{&c.TrackerOnly}},
		{
			"tracker-token-file", "FILE", "token by which to join servers that ask who this one is",
			text{&c.TrackerTokenFile, isAny, ""},
		},
		{"tracker-ca", "FILE", "certificates in PEM of who signs those of trackers with TLS, besides those that the system trusts", text{&c.TrackerCA, isAny, ""}},
		{
			"drain", "DURATION", "how long clients may take to go to other servers before this one stops; 0 for not at all",
			duration{&c.Drain, time.Second, 24 * time.Hour, "not at all"},
		},
		{
			"broadcast-interval", "DURATION", "how often clients are told which servers and topics there are without a change",
			duration{&c.BroadcastInterval, time.Second, time.Hour, ""},
		},
		{
			"idle-timeout", "DURATION", "silence after which a connection is closed; 0 for never",
			duration{&c.IdleTimeout, time.Second, 24 * time.Hour, "never"},
		},
		{
			"rpc-timeout", "DURATION", "how long a call waits for its answer unless it says so itself",
			duration{&c.RPCTimeout, time.Millisecond, 24 * time.Hour, ""},
		},
		{
			"rpc-max-timeout", "DURATION", "the longest timeout that a call can name",
			duration{&c.RPCMaxTimeout, time.Millisecond, 24 * time.Hour, ""},
		},
		{"tls-cert", "FILE", "certificate chain in PEM; needs --tls-key", text{&c.TLSCert, isAny, ""}},
		{"tls-key", "FILE", "private key in PEM; needs --tls-cert", text{&c.TLSKey, isAny, ""}},
		{"tls-client-ca", "FILE", "certificates in PEM of who signs those of clients, which name accounts; needs --tls-cert", text{&c.TLSClientCA, isAny, ""}},
		{
			"sso-issuer", "[NAME=]URL", "issuer of OpenID Connect that people and programs sign on with; needs sso-client-id or sso-audience; may be repeated, and the settings below are then NAME=VALUE",
			list{&c.SSOIssuer, isIssuer, "URLs with https, or of this machine; several have commas between and differ", true},
		},
		{
			"sso-client-id", "ID", "what the issuer calls this broker, for the console; empty for no sign-on there",
			list{&c.SSOClientID, isGiven, "client IDs; several have commas between and differ", true},
		},
		{
			"sso-client-secret-file", "FILE", "secret that the issuer has given for the client ID, if any",
			list{&c.SSOSecretFile, isGiven, "files; several have commas between and differ", true},
		},
		{
			"sso-audience", "AUDIENCE", "audience of the issuer's tokens by which programs connect; may be repeated",
			list{&c.SSOAudience, isGiven, "audiences; several have commas between and differ", true},
		},
		{
			"sso-roles", "GROUP=ROLE", "role of a group's members who have no account; may be repeated",
			list{&c.SSORoles, isMapping, "GROUP=ROLE, such as ops=operator; several have commas between and differ", true},
		},
		{"sso-name-claim", "CLAIM", "what names the account in what the issuer says", list{&c.SSONameClaim, isGiven, "the name of a claim", false}},
		{"sso-groups-claim", "CLAIM", "what has the groups there", list{&c.SSOGroupsClaim, isGiven, "the name of a claim", false}},
		{"sso-grants-claim", "CLAIM", "what has the grants of a program in its token; empty for none", list{&c.SSOGrantsClaim, isGiven, "the name of a claim", true}},
		{
			"sso-scopes", "SCOPE", "what the issuer is asked for besides openid; may be repeated",
			list{&c.SSOScopes, isGiven, "scopes; several have commas between and differ", true},
		},
		{
			"public-url", "URL", "URL by which browsers reach this server through a proxy; may be repeated",
			list{&c.PublicURL, isPublicURL, "URLs such as https://mq.example.com/mq/; several have commas between and differ", true},
		},
		{
			"trusted-proxy", "ADDRESS", "proxy that is believed who its clients are; may be repeated",
			list{&c.TrustedProxy, isNetwork, "addresses or networks such as 10.0.0.5 or 10.0.0.0/24; several have commas between and differ", true},
		},
		{"allow-plain", "", "with TLS, let others than this machine connect without it, too", toggle{&c.AllowPlain}},
		{"plain-io", "", "leave the database's files to SQLite, to rule out zbus's own file access; slower", toggle{&c.PlainIO}},
		{"plain-sockets", "", "read and write sockets as Go's net package does, to rule out zbus's own way; slower", toggle{&c.PlainSockets}},
		{
			"allow-origin", "HOST", "pages of this host (* in it for anything) may use the broker; may be repeated",
			list{
				&c.AllowOrigin, isOrigin,
				"host patterns such as app.example.com or *.example.com:8443, or * for any page; several have commas between and differ",
				true,
			},
		},
		// A row holds body and headers, and SQLite ends at a billion bytes.
		{"max-body", "SIZE", "largest message body", size{&c.MaxBody, 1 << 10, 512 << 20}},
		{"max-head", "SIZE", "largest header block", size{&c.MaxHead, 1 << 10, 1 << 20}},
		{"max-fields", "NUMBER", "most header fields of a frame", number{&c.MaxFields, 16, 1024, ""}},
		{
			"max-memory", "SIZE", "most memory that the broker takes; 0 for half of what there is, at most 512MiB",
			sizeOrDefault{size{&c.MaxMemory, 16 << 20, 1 << 40}, "half of what there is, at most 512MiB"},
		},
		{"tail-cache", "SIZE", "part of max-memory that keeps recent messages", size{&c.TailCache, 0, 1 << 40}},
		{
			"max-topics", "NUMBER", "most topics; 0 for one for each 8KiB of max-memory",
			number{&c.MaxTopics, 1, 1 << 20, "one for each 8KiB of max-memory"},
		},
		{
			"max-groups", "NUMBER", "most groups of all topics together; 0 for one for each 12KiB of max-memory",
			number{&c.MaxGroups, 1, 1 << 20, "one for each 12KiB of max-memory"},
		},
		{"max-inflight", "NUMBER", "most unanswered frames of a connection", number{&c.MaxInflight, 1, 1 << 20, ""}},
		{
			"max-connections", "NUMBER", "most connections; 0 for what the limit on open files and max-memory allow",
			number{&c.MaxConnections, 1, 1 << 20, "what the limit on open files and max-memory allow"},
		},
		{
			"address-connections", "NUMBER", "most connections of one address; 0 for a quarter of all",
			number{&c.AddressConnections, 1, 1 << 20, "a quarter of all"},
		},
		{
			"address-rate", "NUMBER", "most new connections of one address a second; 0 for any",
			number{&c.AddressRate, 1, 1 << 20, "any"},
		},
		{
			"address-sockets", "NUMBER", "most WebSockets and streams of events of the API of one address; 0 for any",
			number{&c.AddressSockets, 1, 1 << 20, "any"},
		},
		{"limit-loopback", "", "have the limits of an address hold for the loopback interface, too", toggle{&c.LimitLoopback}},
		{"log-level", "LEVEL", "debug, info, warn or error", level{&c.LogLevel}},
		{"log-format", "FORMAT", "text or json", choice[LogFormat]{&c.LogFormat, []LogFormat{LogText, LogJSON}}},
		{"log-dir", "DIR", "directory of the log instead of standard error, created when missing", text{&c.LogDir, isAny, ""}},
		{"log-size", "SIZE", "size at which a file in log-dir is full, in whole MiB", size{&c.LogSize, 1 << 20, 1 << 40}},
		{"log-keep", "NUMBER", "full files that stay in log-dir", number{&c.LogKeep, 1, 1000, ""}},
		{
			"pprof", "HOST:PORT", "loopback address of the profiling endpoint; empty for off",
			text{&c.Pprof, orEmpty(isLoopback), "a loopback HOST:PORT, such as 127.0.0.1:6060, or empty for off"},
		},
	}
}

// fault is the complaint about a bad value of the setting.
func (s setting) fault(given string) error {
	if _, hidden := s.value.(secret); hidden {
		return fmt.Errorf("%s: must be %s", s.name, s.value.want())
	}
	return fmt.Errorf("%s %q: must be %s", s.name, given, s.value.want())
}

// variable is the setting's name in the environment.
func variable(name string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// isLoss: eight hexadecimal digits.
func isLoss(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 8
}

func isStore(s string) bool {
	return strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://")
}

func isAny(string) bool     { return true }
func isGiven(s string) bool { return s != "" }

func orEmpty(check func(string) bool) func(string) bool {
	return func(s string) bool { return s == "" || check(s) }
}
