package config

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/bytesize"
)

// load parses args as the command line does and loads the configuration.
func load(t *testing.T, args, environ []string) (Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("zbus", pflag.ContinueOnError)
	Register(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(fs, environ)
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zbus.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNothingGivenIsTheDefault(t *testing.T) {
	got, err := load(t, nil, []string{"PATH=/bin", "HOME=/root"})
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// everySetting has a value other than the default for each setting.
func everySetting() (map[string]string, Config) {
	given := map[string]string{
		"listen": "0.0.0.0:1,[::1]:0,broker-1.example:65535", "insecure": "true", "auth": "on", "data": "/var/lib/zbus", "store": "postgres://zbus@db1,db2/zbus", "node": "mq1",
		"durability": "relaxed", "sync-interval": "10ms", "dedup-window": "1m", "disk-floor": "1GiB", "clock-hold": "2m", "accept-loss": "1a2b3c4d", "scrub-every": "1h", "backup-every": "24h", "backup-keep": "3", "backup-dir": "/mnt/zbus", "advertise": "mq.example:443", "tracker": "a.example:1,[SSL]b.example:2,[fd00::1]:3", "tracker-only": "true", "tracker-token-file": "join.token", "tracker-ca": "trackers.pem", "drain": "20s", "broadcast-interval": "5s", "idle-timeout": "0",
		"rpc-timeout": "1s", "rpc-max-timeout": "1m",
		"tls-cert": "c.pem", "tls-key": "k.pem", "tls-client-ca": "ca.pem", "sso-issuer": "https://login.example/realm,partner=https://login.partner.example", "sso-client-id": "zbus,partner=their-zbus", "sso-client-secret-file": "sso.secret", "sso-audience": "zbus,https://mq.example", "sso-roles": "ops=operator,cn=staff=viewer", "sso-name-claim": "email", "sso-groups-claim": "realm_access.roles", "sso-grants-claim": "zbus.grants", "sso-scopes": "email,groups", "allow-plain": "true", "plain-sockets": "true", "plain-io": "true", "public-url": "https://mq.example/mq/,http://mq.example:8080", "trusted-proxy": "10.0.0.5,fd00::/64", "allow-origin": "app.example,*.example:8443", "max-body": "64KB", "max-head": "1MiB", "max-fields": "100",
		"max-memory": "1073741824", "tail-cache": "1gb", "max-topics": "1000", "max-groups": "2000", "max-inflight": "1", "max-connections": "1000", "address-connections": "100", "address-rate": "10", "address-sockets": "20", "limit-loopback": "true",
		"log-level": "debug", "log-format": "json", "log-dir": "/var/log/zbus", "log-size": "1MiB", "log-keep": "3", "pprof": "localhost:6060",
	}
	return given, Config{
		Listen: []string{"0.0.0.0:1", "[::1]:0", "broker-1.example:65535"}, Insecure: true, Data: "/var/lib/zbus", Store: "postgres://zbus@db1,db2/zbus", Node: "mq1",
		Auth: AuthOn, Durability: Relaxed, SyncInterval: 10 * time.Millisecond, DedupWindow: time.Minute, DiskFloor: 1 << 30, ClockHold: 2 * time.Minute, AcceptLoss: "1a2b3c4d", ScrubEvery: time.Hour, BackupEvery: 24 * time.Hour, BackupKeep: 3, BackupDir: "/mnt/zbus", Advertise: "mq.example:443", IdleTimeout: 0,
		Trackers: []string{"a.example:1", "[SSL]b.example:2", "[fd00::1]:3"}, TrackerOnly: true, TrackerTokenFile: "join.token", TrackerCA: "trackers.pem", Drain: 20 * time.Second, BroadcastInterval: 5 * time.Second,
		RPCTimeout: time.Second, RPCMaxTimeout: time.Minute,
		TLSCert: "c.pem", TLSKey: "k.pem", TLSClientCA: "ca.pem",
		SSOIssuer: []string{"https://login.example/realm", "partner=https://login.partner.example"}, SSOClientID: []string{"zbus", "partner=their-zbus"}, SSOSecretFile: []string{"sso.secret"}, SSOAudience: []string{"zbus", "https://mq.example"}, SSORoles: []string{"ops=operator", "cn=staff=viewer"}, SSONameClaim: []string{"email"}, SSOGroupsClaim: []string{"realm_access.roles"}, SSOGrantsClaim: []string{"zbus.grants"}, SSOScopes: []string{"email", "groups"},
		AllowPlain: true, PlainSockets: true, PlainIO: true, PublicURL: []string{"https://mq.example/mq/", "http://mq.example:8080"}, TrustedProxy: []string{"10.0.0.5", "fd00::/64"}, AllowOrigin: []string{"app.example", "*.example:8443"}, MaxBody: 64000, MaxHead: 1 << 20, MaxFields: 100,
		MaxMemory: 1 << 30, TailCache: 1e9, MaxTopics: 1000, MaxGroups: 2000, MaxInflight: 1, MaxConnections: 1000, AddressConnections: 100, AddressRate: 10, AddressSockets: 20, LimitLoopback: true,
		LogLevel: slog.LevelDebug, LogFormat: LogJSON, LogDir: "/var/log/zbus", LogSize: 1 << 20, LogKeep: 3, Pprof: "localhost:6060",
	}
}

func TestEverySettingCanBeGivenInEveryWay(t *testing.T) {
	given, want := everySetting()
	c := Default()
	var args, environ, lines []string
	for _, s := range settings(&c) {
		v, ok := given[s.name]
		if !ok {
			t.Fatalf("no value for %s in this test", s.name)
		}
		if v == s.value.String() {
			t.Fatalf("%s: this test gives it the default, %s", s.name, v)
		}
		args = append(args, "--"+s.name+"="+v)
		environ = append(environ, variable(s.name)+"="+v)
		if s.name == "listen" {
			v = "[\"" + strings.ReplaceAll(v, ",", "\", \"") + "\"]"
		}
		lines = append(lines, s.name+": "+v)
	}
	path := writeFile(t, strings.Join(lines, "\n"))
	for _, from := range []struct {
		name          string
		args, environ []string
	}{
		{"flags", args, nil},
		{"environment", nil, environ},
		{"file named by flag", []string{"--config", path}, nil},
		{"file named by environment", nil, []string{"ZBUS_CONFIG=" + path}},
	} {
		t.Run(from.name, func(t *testing.T) {
			got, err := load(t, from.args, from.environ)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("\n got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestEveryFieldHasASetting(t *testing.T) {
	c := Default()
	if fields, rows := reflect.TypeOf(c).NumField(), len(settings(&c)); fields != rows {
		t.Errorf("%d fields and %d settings", fields, rows)
	}
	_, changed := everySetting()
	got, byDefault := reflect.ValueOf(changed), reflect.ValueOf(Default())
	for i := range got.NumField() {
		name := got.Type().Field(i).Name
		if reflect.DeepEqual(got.Field(i).Interface(), byDefault.Field(i).Interface()) {
			t.Errorf("no setting changes %s", name)
		}
	}
}

func TestStrongerSourceWins(t *testing.T) {
	path := writeFile(t, "data: file\nmax-fields: 20\nmax-head: 2KiB\nlisten: 127.0.0.1:1\ninsecure: true\n")
	got, err := load(t,
		[]string{"--config", path, "--data", "flag", "--listen", "127.0.0.1:3", "--listen", "127.0.0.1:4", "--insecure=false"},
		[]string{"ZBUS_DATA=environment", "ZBUS_MAX_FIELDS=30", "ZBUS_LISTEN=127.0.0.1:2", "ZBUS_CONFIG=/not/there"})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Data, want.MaxFields, want.MaxHead = "flag", 30, 2<<10
	want.Listen = []string{"127.0.0.1:3", "127.0.0.1:4"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestBadValueIsOneLineThatSaysWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"durability", "fsnyc", `durability "fsnyc": must be fsync or relaxed`},
		{"durability", "", `durability "": must be fsync or relaxed`},
		{"sync-interval", "200", `sync-interval "200": must be a duration from 10ms to 10s`},
		{"sync-interval", "9ms", `sync-interval "9ms": must be a duration from 10ms to 10s`},
		{"sync-interval", "0", `sync-interval "0": must be a duration from 10ms to 10s`},
		{"idle-timeout", "999ms", `idle-timeout "999ms": must be a duration from 1s to 24h, or 0 for never`},
		{"idle-timeout", "-1s", `idle-timeout "-1s": must be a duration from 1s to 24h, or 0 for never`},
		{"allow-origin", "https://app.example", `allow-origin "https://app.example": must be host patterns such as app.example.com`},
		{"allow-origin", "[a", `allow-origin "[a": must be host patterns`},
		{"listen", "15555", `listen "15555": must be HOST:PORT, such as 127.0.0.1:15555; several have commas between and differ`},
		{"listen", "", `listen "": must be HOST:PORT`},
		{"listen", "localhost:65536", `listen "localhost:65536": must be HOST:PORT`},
		{"listen", "localhost:http", `listen "localhost:http": must be HOST:PORT`},
		{"listen", "local host:1", `listen "local host:1": must be HOST:PORT`},
		{"listen", "::1:1", `listen "::1:1": must be HOST:PORT`},
		{"listen", "[::1]:1,[::1]:1", `listen "[::1]:1,[::1]:1": must be HOST:PORT`},
		{"listen", "127.0.0.1:1,", `listen "127.0.0.1:1,": must be HOST:PORT`},
		{"listen", "0.0.0.0:1", `listen "0.0.0.0:1": must be a loopback address`},
		{"listen", "127.0.0.1:0,:1", `listen ":1": must be a loopback address`},
		{"listen", "broker.example:1", `listen "broker.example:1": must be a loopback address`},
		{"insecure", "perhaps", `insecure "perhaps": must be true or false`},
		{"data", "", `data "": must be a directory`},
		{"accept-loss", "yes", `accept-loss "yes": must be the ID that a refused start has named, such as 1a2b3c4d`},
		{"advertise", "0.0.0.0:1", `advertise "0.0.0.0:1": must be HOST:PORT that others can connect to, or empty`},
		{"advertise", ":1", `advertise ":1": must be HOST:PORT that others can connect to`},
		{"advertise", "h:0", `advertise "h:0": must be HOST:PORT that others can connect to`},
		{"tracker", "a:0", `tracker "a:0": must be HOST:PORT that can be connected to`},
		{"tracker", "169.254.169.254:80", `tracker "169.254.169.254:80": must be HOST:PORT that can be connected to`},
		{"tracker", "a:1;a:1", `tracker "a:1;a:1": must be HOST:PORT that can be connected to`},
		{"broadcast-interval", "1ms", `broadcast-interval "1ms": must be a duration from 1s to 1h`},
		{"public-url", "mq.example", `public-url "mq.example": must be URLs such as https://mq.example.com/mq/`},
		{"public-url", "https://u:p@mq.example", `public-url "https://u:p@mq.example": must be URLs`},
		{"trusted-proxy", "proxy", `trusted-proxy "proxy": must be addresses or networks such as 10.0.0.5`},
		{"tls-cert", "c.pem", `tls-cert "c.pem": needs tls-key as well`},
		{"tls-key", "k.pem", `tls-key "k.pem": needs tls-cert as well`},
		{"tls-client-ca", "ca.pem", `tls-client-ca "ca.pem": needs tls-cert and tls-key as well`},
		{"sso-issuer", "http://login.example", `sso-issuer "http://login.example": must be URLs with https, or of this machine; several have commas between and differ`},
		{"sso-issuer", "https://u:p@login.example", `sso-issuer "https://u:p@login.example": must be URLs with https`},
		{"sso-issuer", "https://login.example", `sso-issuer "https://login.example": needs sso-client-id, for people, or sso-audience, for programs`},
		{"sso-client-id", "zbus", `sso-client-id "zbus": needs sso-issuer as well`},
		{"sso-audience", "zbus", `sso-audience "zbus": needs sso-issuer as well`},
		{"sso-grants-claim", "grants", `sso-grants-claim "grants": needs sso-issuer as well`},
		{"sso-roles", "ops=viewer", `sso-roles "ops=viewer": needs sso-issuer as well`},
		{"sso-roles", "ops", `sso-roles "ops": must be GROUP=ROLE, such as ops=operator`},
		{"sso-client-secret-file", "f", `sso-client-secret-file "f": needs sso-issuer as well`},
		{"sso-name-claim", "email", `sso-name-claim "email": needs sso-issuer as well`},
		{"sso-issuer", "Partner=https://login.example", `sso-issuer "Partner=https://login.example": must be URLs with https`},
		{"sso-issuer", "partner=", `sso-issuer "partner=": must be URLs with https`},
		{"max-body", "16 parsecs", `max-body "16 parsecs": must be a size from 1KiB to 512MiB, such as 16MiB, 64KB or 1073741824`},
		{"max-body", "1023", `max-body "1023": must be a size from 1KiB to 512MiB`},
		{"max-body", "-1", `max-body "-1": must be a size from 1KiB to 512MiB`},
		{"max-body", "1.5MiB", `max-body "1.5MiB": must be a size from 1KiB to 512MiB`},
		{"max-body", "9223372036854775807KiB", `max-body "9223372036854775807KiB": must be a size from 1KiB to 512MiB`},
		{"max-head", "2MiB", `max-head "2MiB": must be a size from 1KiB to 1MiB`},
		{"max-fields", "15", `max-fields "15": must be a number from 16 to 1024`},
		{"max-fields", "many", `max-fields "many": must be a number from 16 to 1024`},
		{"max-memory", "1MB", `max-memory "1MB": must be a size from 16MiB to 1TiB, such as 16MiB, 64KB or 1073741824, or 0 for half of what there is, at most 512MiB`},
		{"max-memory", "32MiB", `tail-cache "32MiB": must be less than max-memory, which is 32MiB`},
		{"tail-cache", "512MiB", `tail-cache "512MiB": must be less than max-memory, which is 512MiB`},
		{"max-inflight", "0", `max-inflight "0": must be a number from 1 to 1048576`},
		{"max-connections", "-1", `max-connections "-1": must be a number from 1 to 1048576, or 0 for what the limit on open files and max-memory allow`},
		{"log-level", "loud", `log-level "loud": must be debug, info, warn or error`},
		{"log-level", "info+2", `log-level "info+2": must be debug, info, warn or error`},
		{"log-format", "xml", `log-format "xml": must be text or json`},
		{"pprof", "6060", `pprof "6060": must be a loopback HOST:PORT, such as 127.0.0.1:6060, or empty for off`},
		{"pprof", "0.0.0.0:6060", `pprof "0.0.0.0:6060": must be a loopback HOST:PORT`},
		{"pprof", "10.0.0.1:6060", `pprof "10.0.0.1:6060": must be a loopback HOST:PORT`},
	} {
		t.Run(c.name+"="+c.value, func(t *testing.T) {
			for source, given := range map[string]struct{ args, environ []string }{
				"flag":        {[]string{"--" + c.name + "=" + c.value}, nil},
				"environment": {nil, []string{variable(c.name) + "=" + c.value}},
				"file":        {[]string{"--config", writeFile(t, c.name+": \""+c.value+"\"\n")}, nil},
			} {
				if source == "environment" && c.value == "" {
					continue // an empty variable is not set
				}
				_, err := load(t, given.args, given.environ)
				if err == nil {
					t.Fatalf("%s: accepted", source)
				}
				if got := err.Error(); !strings.HasPrefix(got, c.want) || strings.Contains(got, "\n") {
					t.Errorf("%s:\n got %s\nwant %s", source, got, c.want)
				}
			}
		})
	}
}

func TestUnknownVariableIsRefusedWithTheClosestSetting(t *testing.T) {
	for variable, closest := range map[string]string{
		"ZBUS_LISEN":          "ZBUS_LISTEN",
		"ZBUS_SYNC_INTERVAL_": "ZBUS_SYNC_INTERVAL",
		"ZBUS_TLS_CRT":        "ZBUS_TLS_CERT",
		"ZBUS_CONF":           "ZBUS_CONFIG",
		"ZBUS_listen":         "ZBUS_LISTEN",
		"ZBUS_PORT":           "ZBUS_STORE", // a guess; outside Kubernetes it is an error all the same
	} {
		_, err := load(t, nil, []string{variable + "=1"})
		want := variable + ": unknown variable; the closest setting is " + closest
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", variable, err, want)
		}
	}
}

func TestVariablesThatKubernetesAddsAreIgnored(t *testing.T) {
	pod := []string{
		"KUBERNETES_SERVICE_HOST=10.0.0.1", "ZBUS_PORT=tcp://10.0.0.7:15555", "ZBUS_PORT_15555_TCP_ADDR=10.0.0.7",
		"ZBUS_SERVICE_HOST=10.0.0.7", "ZBUS_HEADLESS_SERVICE_PORT=15555", "ZBUS_HEADLESS_SERVICE_PORT_MQ=15555",
	}
	if _, err := load(t, nil, pod); err != nil {
		t.Error(err)
	}
	if _, err := load(t, nil, append(pod, "ZBUS_LISEN=1")); err == nil {
		t.Error("a misspelt variable was accepted in a pod")
	}
}

func TestVariablesThatAnOrchestratorSetsAreIgnored(t *testing.T) {
	set := []string{
		"ZBUS_PORT=tcp://172.17.0.5:15555", "ZBUS_PORT_15555_TCP=tcp://172.17.0.5:15555", "ZBUS_PORT_15555_TCP_PROTO=tcp",
		"ZBUS_SERVICE_HOST=10.0.0.7", "ZBUS_SERVICE_PORT=15555", "ZBUS_SERVICE_NAME=mq",
	}
	if _, err := load(t, nil, set); err != nil {
		t.Error(err)
	}
	if got := Ignored(append(set, "ZBUS_DATA=/d", "ZBUS_PORT_X=1")); len(got) != len(set) {
		t.Errorf("ignored: %q", got)
	}
}

func TestAnEmptyVariableIsNotSet(t *testing.T) {
	got, err := load(t, nil, []string{"ZBUS_DATA=", "ZBUS_MAX_BODY=", "ZBUS_CONFIG=", "ZBUS_LISEN="})
	if err != nil || !reflect.DeepEqual(got, Default()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestVariablesOfTheCommandLineAreLeftAlone(t *testing.T) {
	if _, err := load(t, nil, []string{"ZBUS_SERVER=mq:1", "ZBUS_TOKEN=t", "ZBUS_CONTEXT=prod"}); err != nil {
		t.Error(err)
	}
}

func TestBadFileIsRefusedInOneLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "lisen: 127.0.0.1:1", `unknown setting "lisen"; the closest is "listen"`},
		{"nested key", "tls:\n  cert: c.pem", `unknown setting "tls.cert"; the closest is "tls-cert"`},
		{"file in file", "config: other.yaml", `unknown setting "config"`},
		{"list for one value", "data: [a, b]", "data: must be one value, not a list"},
		{"no value", "durability:", `durability "": must be fsync or relaxed`},
		{"key twice", "data: a\ndata: b\n", "already defined"},
		{"several faults", "data: a\ndata: b\ndata: c\n", "already defined"},
		{"no mapping", "- data", "cannot unmarshal"},
		{"no YAML", "data: [", "yaml"},
		{"two documents", "data: a\n---\ndata: b\n", "more than one document"},
		{"a bad second one", "data: a\n---\ndata: [\n", "more than one document"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, []string{"--config", writeFile(t, c.text)}, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %s", err, c.want)
			}
		})
	}
	_, err := load(t, []string{"--config", "/not/there.yaml"}, nil)
	if err == nil || !strings.Contains(err.Error(), `config file "/not/there.yaml"`) {
		t.Errorf("missing file: got %v", err)
	}
}

func TestEmptyFileIsTheDefault(t *testing.T) {
	got, err := load(t, []string{"--config", writeFile(t, "# nothing yet\n")}, nil)
	if err != nil || !reflect.DeepEqual(got, Default()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestNumbersInYAMLNeedNoQuotes(t *testing.T) {
	got, err := load(t, []string{"--config", writeFile(t, "max-body: 1048576\nidle-timeout: 0\nlisten:\n  - 127.0.0.1:0\n")}, nil)
	if err != nil || got.MaxBody != 1<<20 || got.IdleTimeout != 0 || got.Listen[0] != "127.0.0.1:0" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestListeningBeyondLoopbackNeedsTLSOrInsecure(t *testing.T) {
	for _, c := range []struct {
		args []string
		ok   bool
	}{
		{[]string{"--listen=127.0.0.2:1", "--listen=[::1]:1", "--listen=localhost:1"}, true},
		{[]string{"--listen=:1"}, false},
		{[]string{"--listen=:1", "--insecure"}, true},
		{[]string{"--listen=[::]:1", "--tls-cert=c", "--tls-key=k"}, true},
	} {
		if _, err := load(t, c.args, nil); (err == nil) != c.ok {
			t.Errorf("%v: got %v", c.args, err)
		}
	}
}

func TestMaxBodyFitsIntoMaxMemory(t *testing.T) {
	c := Default()
	c.MaxMemory, c.TailCache, c.MaxBody = 32<<20, 0, 64<<20
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), `max-body "64MiB": must be at most max-memory`) {
		t.Errorf("got %v", err)
	}
}

func TestValidateRefusesTheZeroConfig(t *testing.T) {
	if err := new(Config).Validate(); err == nil {
		t.Error("accepted")
	}
}

func TestSizeReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<62).Draw(t, "n")
		if got, ok := bytesize.Parse(bytesize.Format(n)); !ok || got != n {
			t.Fatalf("%d is written %s and read %d, %t", n, bytesize.Format(n), got, ok)
		}
	})
}

func TestDurationReadsWhatItWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64().Draw(t, "d"))
		if rapid.Bool().Draw(t, "whole") {
			d = d.Truncate(time.Minute)
		}
		if got, err := time.ParseDuration(formatDuration(d)); err != nil || got != d {
			t.Fatalf("%d is written %s and read %d, %v", d, formatDuration(d), got, err)
		}
	})
}

func TestAdvertisedIsAnAddressOthersCanUse(t *testing.T) {
	bound := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	c := Default()
	for _, s := range []string{"127.0.0.1:15555", "[::1]:7", "10.1.2.3:80"} {
		if got := c.Advertised(bound(s)); got != s {
			t.Errorf("bound to %s: got %s", s, got)
		}
	}
	for _, s := range []string{"0.0.0.0:15555", "[::]:15555"} {
		at, err := netip.ParseAddrPort(c.Advertised(bound(s)))
		if err != nil || !at.Addr().Is4() || at.Addr().IsUnspecified() || at.Port() != 15555 {
			t.Errorf("bound to %s: got %s, %v", s, at, err)
		}
	}
	c.Advertise = "mq.example:443"
	if got := c.Advertised(bound("0.0.0.0:15555")); got != "mq.example:443" {
		t.Errorf("got %s, want what was set", got)
	}
}

func TestStoreLeavesNoRoomForSettingsOfFiles(t *testing.T) {
	for args, want := range map[string]string{
		"--disk-floor=1GiB":      "disk-floor: is not for a broker with store",
		"--accept-loss=1a2b3c4d": "accept-loss",
		"--backup-every=1h":      "pg_basebackup",
		"--backup-dir=/mnt":      "pg_basebackup",
		"--plain-io":             "plain-io",
	} {
		c, err := load(t, []string{"--store=postgres://zbus@db/zbus", args}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CheckStore(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
		if c.Store = ""; c.CheckStore() != nil {
			t.Errorf("%s is refused without a store", args)
		}
	}
	if _, err := load(t, []string{"--node=a"}, nil); err == nil || !strings.Contains(err.Error(), "needs store") {
		t.Errorf("a node without a store: %v", err)
	}
	_, err := load(t, []string{"--store=mysql://zbus:geheim@db/zbus"}, nil)
	if err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("an address of something else: %v", err)
	}
}
