// Package config turns flags, ZBUS_ environment variables and a YAML file into
// one checked [Config].
//
// The same names are used everywhere: the flag --sync-interval is the variable
// ZBUS_SYNC_INTERVAL and the key sync-interval in the file. A flag is stronger
// than the environment, the environment than the file, the file than the
// default. What is not understood is refused, never ignored.
package config

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/rushmore/zbus-go/internal/bytesize"
)

// Durability says what an answered publish survives.
type Durability string

// The durability modes.
const (
	// Fsync: an answered publish survives power loss.
	Fsync Durability = "fsync"
	// Relaxed: an answered publish survives a killed process. After power loss
	// the last SyncInterval may be missing, always a suffix.
	Relaxed Durability = "relaxed"
)

// Auth says when who connects has to say who it is.
type Auth string

// The modes of Auth.
const (
	AuthOn  Auth = "on"
	AuthOff Auth = "off"
	// AuthAuto: as soon as there is an account, and from the start where Listen is not
	// loopback alone, unless Insecure.
	AuthAuto Auth = "auto"
)

// LogFormat is how log lines are written.
type LogFormat string

// The log formats.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Config is everything an operator can set. Start from [Default]; the zero
// value is not valid. It is plain data: the holder of a copy owns it.
type Config struct {
	// Listen has the addresses to accept connections on, HOST:PORT each, at
	// least one. An empty host is every interface, port 0 any free port.
	// Default: 127.0.0.1:15555.
	Listen []string
	// Insecure allows Listen to leave the loopback interface without TLS, and with Auth auto
	// and no accounts without asking anybody who they are. Default: false.
	Insecure bool
	// Auth says when who connects has to say who it is. Default: AuthAuto.
	Auth Auth
	// Data is the data directory, created when missing. Default: ./zbus-data.
	Data string
	// Store is the URL of a PostgreSQL database that has everything instead. Default: none.
	Store string
	// Node is the broker's name among those that use the database. Default: the machine's.
	Node string
	// Durability says when a publish is answered. Default: Fsync.
	Durability Durability
	// SyncInterval is the longest time that Relaxed leaves answered publishes
	// unsynced, 10ms to 10s. Fsync ignores it. Default: 200ms.
	SyncInterval time.Duration
	// DedupWindow is how long an id given over the HTTP API, or with dedup, is
	// known, so that publishing it again stores nothing: 1s to 24h, 0 for not at
	// all. Default: 10m.
	DedupWindow time.Duration
	// DiskFloor is how many bytes have to be left on the disk, or unused in the
	// database, for messages to be taken, up to 1TiB. 0: a tenth of the file system,
	// at most 256MiB. Default: 0.
	DiskFloor int64
	// AcceptLoss names one loss that the broker refused to start over: what it said is
	// missing may be. Empty: nothing may. Another name than that of the loss that is
	// found changes nothing, so it does no harm when it is forgotten.
	AcceptLoss string
	// ScrubEvery is the time between two rounds in which everything that is stored is
	// read, to find damage, 1m to 8760h; 0: there are none. Default: 168h.
	ScrubEvery time.Duration
	// BackupEvery is the time between two scheduled backups, 1m to 8760h; 0: there are
	// none. Default: 0.
	BackupEvery time.Duration
	// BackupKeep is how many scheduled backups stay, 1 to 10000. Default: 7.
	BackupKeep int
	// BackupDir is where they are, created when missing. Empty: the directory backups in
	// Data, which is no help when that disk is lost.
	BackupDir string
	// ClockHold is how long deletion by age is suspended when the wall clock jumped
	// by more than 5 minutes, unless that is confirmed: 1m to 168h. Default: 1h.
	ClockHold time.Duration
	// Advertise is the HOST:PORT that clients and other servers are told.
	// Empty: derived from the bound address, see [Config.Advertised].
	Advertise string
	// Trackers are the servers, HOST:PORT each or [SSL]HOST:PORT, that this one joins, so that
	// their clients know of it; itself may be one. At most 16. Default: none.
	Trackers []string
	// TrackerOnly leaves this server out of the table that its clients get. Default: false.
	TrackerOnly bool
	// TrackerTokenFile has the token by which this server joins trackers that ask who it
	// is. Empty: it has none.
	TrackerTokenFile string
	// TrackerCA names a file with certificates in PEM of who signs those of trackers with TLS,
	// besides those that the system trusts and the one of this server.
	TrackerCA string
	// Drain is how long clients may take to go to other servers before this one stops, and
	// consumers to take what is left, 1s to 24h. 0: it stops at once.
	Drain time.Duration
	// BroadcastInterval is how often clients and trackers are told what servers and topics
	// there are without a change, 1s to 1h. Default: 30s.
	BroadcastInterval time.Duration
	// IdleTimeout closes a connection that was silent for so long, 1s to 24h.
	// 0 means never. Clients send a heartbeat every 60s. Default: 180s.
	IdleTimeout time.Duration
	// RPCTimeout is how long a call waits for its answer that names no timeout of
	// its own, 1ms to 24h and at most RPCMaxTimeout. Default: 30s.
	RPCTimeout time.Duration
	// RPCMaxTimeout is the longest timeout that a call can name; what is longer is
	// cut, 1ms to 24h. Default: 10m.
	RPCMaxTimeout time.Duration
	// TLSCert and TLSKey are PEM files; both or none. With them TLS is on.
	TLSCert, TLSKey string
	// TLSClientCA is a PEM file with the certificates of who may sign those of clients, which name
	// accounts. Default: none, and clients are not asked for certificates.
	TLSClientCA string
	// SSOIssuer has the URLs of issuers of OpenID Connect that people and programs sign on with, as they call
	// themselves; NAME=URL for all but one. What is said of one of these is NAME=VALUE in the settings
	// below: see Issuers. Default: none.
	SSOIssuer []string
	// SSOClientID is what the issuer calls this broker, for sign-on in the console. Empty: there
	// is none.
	SSOClientID []string
	// SSOSecretFile has the secret for that. Empty: it has none.
	SSOSecretFile []string
	// SSOAudience are those of which a token of the issuer by which a program connects has to have
	// one. Default: none, and no such token is accepted.
	SSOAudience []string
	// SSORoles has GROUP=ROLE for members of groups who have no account. Default: none.
	SSORoles []string
	// SSONameClaim and SSOGroupsClaim name the claims with the account and the groups; a claim
	// within another has a dot before it. Default: sub, groups.
	SSONameClaim, SSOGroupsClaim []string
	// SSOGrantsClaim names the claim with the grants of a program. Empty: grants in its tokens count
	// for nothing.
	SSOGrantsClaim []string
	// SSOScopes are what the issuer is asked for besides openid. Default: profile, email.
	SSOScopes []string
	// PublicURL has the URLs that browsers reach this server by through proxies, http or
	// https, with a path if it is below one. Default: none.
	PublicURL []string
	// TrustedProxy has addresses, or networks, of proxies that are believed what they say of
	// their clients (X-Forwarded-…, Forwarded). Default: none.
	TrustedProxy []string
	// AllowPlain lets connections from beyond the loopback interface go without TLS although
	// it is on. Default: false.
	AllowPlain bool
	// PlainSockets has sessions read and write as Go's package net does, without what zbus
	// does to save system calls, so that it can be ruled out as the cause of trouble.
	PlainSockets bool
	// PlainIO leaves the database's files to SQLite, without what zbus does to save system
	// calls, for the same purpose.
	PlainIO bool
	// AllowOrigin has patterns of hosts whose pages may connect by WebSocket,
	// besides the broker's own; "*" is every page there is. Programs that are no
	// browser are not concerned. Default: none, as no client is asked who it is,
	// and a page of any site can reach the loopback interface of its reader.
	AllowOrigin []string
	// MaxBody is the largest message body in bytes, 1KiB to 512MiB and at most
	// MaxMemory. Default: 16MiB.
	MaxBody int64
	// MaxHead is the largest header block in bytes, 1KiB to 1MiB. Default: 32KiB.
	MaxHead int64
	// MaxFields is the most header fields of one frame, 16 to 1024. Default: 64.
	MaxFields int
	// MaxMemory is the most bytes of memory that the broker takes, 16MiB to 1TiB. 0: half
	// of what the control group or the machine has, at most 512MiB. Default: 0.
	MaxMemory int64
	// TailCache is the part of MaxMemory, in bytes, that keeps recent messages
	// for delivery; less than MaxMemory, 0 keeps none. Where MaxMemory is 0, it is at
	// most an eighth of what that comes to. Default: 32MiB.
	TailCache int64
	// MaxTopics is the most topics that can be declared, up to 1048576. 0: one for each 8KiB
	// of MaxMemory. Default: 0.
	MaxTopics int
	// MaxGroups is the most groups of all topics together, up to 1048576. 0: one for each
	// 12KiB of MaxMemory. Default: 0.
	MaxGroups int
	// MaxInflight is the most unanswered frames of one connection, 1 to
	// 1048576. Default: 4096.
	MaxInflight int
	// MaxConnections is the most open connections, up to 1048576. 0: as many as the limit
	// on open files and MaxMemory (32KiB each) allow. Default: 0.
	MaxConnections int
	// AddressConnections is the most connections of one address, up to 1048576. 0: a
	// quarter of MaxConnections. Default: 0.
	AddressConnections int
	// AddressRate is the most new connections of one address a second, up to 1048576; 0:
	// any. Default: 1000.
	AddressRate int
	// AddressSockets is the most WebSockets and streams of events of the API that one
	// address has, up to 1048576; 0: any. Default: 250.
	AddressSockets int
	// LimitLoopback has the limits of an address hold for the loopback interface, too.
	// Default: false, as what runs on the broker's own machine is trusted, and a proxy there
	// is the address of all its clients.
	LimitLoopback bool
	// LogLevel is the least severe level that is logged. Default: info.
	LogLevel slog.Level
	// LogFormat is the form of the log on standard error. Default: LogText.
	LogFormat LogFormat
	// LogDir is a directory for the log, created when missing. Empty: the log goes to
	// standard error.
	LogDir string
	// LogSize is how large a file of the log gets, in bytes of which whole MiB count,
	// 1MiB to 1TiB. Default: 100MiB.
	LogSize int64
	// LogKeep is how many full files of the log stay, 1 to 1000. Default: 10.
	LogKeep int
	// Pprof is the loopback HOST:PORT of the profiling endpoint. Empty: off.
	Pprof string
}

// MostMemory is the most bytes of memory that the broker takes where MaxMemory is 0.
const MostMemory = 512 << 20

// Default returns the configuration of a broker started without any setting.
func Default() Config {
	return Config{
		Listen:            []string{"127.0.0.1:15555"},
		Data:              "./zbus-data",
		Auth:              AuthAuto,
		Durability:        Fsync,
		SyncInterval:      200 * time.Millisecond,
		DedupWindow:       10 * time.Minute,
		ScrubEvery:        168 * time.Hour,
		BackupKeep:        7,
		ClockHold:         time.Hour,
		SSONameClaim:      []string{defaultNameClaim},
		SSOGroupsClaim:    []string{defaultGroupsClaim},
		SSOScopes:         defaultScopes(),
		IdleTimeout:       180 * time.Second,
		BroadcastInterval: 30 * time.Second,
		RPCTimeout:        30 * time.Second,
		RPCMaxTimeout:     10 * time.Minute,
		MaxBody:           16 << 20,
		MaxHead:           32 << 10,
		MaxFields:         64,
		TailCache:         32 << 20,
		MaxInflight:       4096,
		AddressRate:       1000,
		AddressSockets:    250,
		LogLevel:          slog.LevelInfo,
		LogFormat:         LogText,
		LogSize:           100 << 20,
		LogKeep:           10,
	}
}

// Local reports whether only this machine can connect.
func (c *Config) Local() bool { return !slices.ContainsFunc(c.Listen, isPublic) }

// TLS reports whether connections are encrypted.
func (c *Config) TLS() bool { return c.TLSCert != "" }

// Validate reports the first setting that is wrong, in one line that says what
// would be right. It looks at nothing outside c.
func (c *Config) Validate() error {
	for _, s := range settings(c) {
		if !s.value.valid() {
			return s.fault(s.value.String())
		}
	}
	if c.TLSCert == "" && c.TLSKey != "" {
		return fmt.Errorf("tls-key %q: needs tls-cert as well", c.TLSKey)
	}
	if c.TLSKey == "" && c.TLSCert != "" {
		return fmt.Errorf("tls-cert %q: needs tls-key as well", c.TLSCert)
	}
	if c.TLSCert == "" && c.TLSClientCA != "" {
		return fmt.Errorf("tls-client-ca %q: needs tls-cert and tls-key as well", c.TLSClientCA)
	}
	if c.Store == "" && c.Node != "" {
		return fmt.Errorf("node %q: needs store as well", c.Node)
	}
	if err := c.validateSSO(); err != nil {
		return err
	}
	memory := c.MaxMemory
	if memory == 0 {
		memory = MostMemory
	}
	if c.TailCache >= memory {
		return fmt.Errorf("tail-cache %q: must be less than max-memory, which is %s",
			bytesize.Format(c.TailCache), bytesize.Format(memory))
	}
	if c.RPCTimeout > c.RPCMaxTimeout {
		return fmt.Errorf("rpc-timeout %q: must be at most rpc-max-timeout, which is %s",
			formatDuration(c.RPCTimeout), formatDuration(c.RPCMaxTimeout))
	}
	if c.MaxBody > memory {
		return fmt.Errorf("max-body %q: must be at most max-memory, which is %s",
			bytesize.Format(c.MaxBody), bytesize.Format(memory))
	}
	if c.TLS() || c.Insecure {
		return nil
	}
	if i := slices.IndexFunc(c.Listen, isPublic); i >= 0 {
		return fmt.Errorf("listen %q: must be a loopback address, as what is said can be overheard;"+
			" set tls-cert and tls-key, or allow it with --insecure", c.Listen[i])
	}
	return nil
}
