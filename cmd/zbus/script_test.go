package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rushmore/zbus-go/internal/zbustest"
)

// TestScripts runs the scripts in testdata/script: the command line as its users type
// it, against a broker that is a process of its own. Besides the commands of
// testscript there are
//
//	broker [FLAG...]   start a broker and set ZBUS_SERVER; again: start it again there
//	halt               stop it in order
//	crash              kill it, and wait until it is gone
//	exits N ARG...     run zbus and want the exit code N
//	until TEXT FILE    wait until a background command has written TEXT to FILE
//	fetch N URL        GET, and want the status N; the body is stdout
//	certificate [NAME] write cert.pem and key.pem for 127.0.0.1, or NAME.pem and NAME.key for that account
func TestScripts(t *testing.T) {
	binary := os.Getenv(binaryVariable)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"broker": scriptBroker, "halt": scriptSignal(syscall.SIGTERM), "crash": scriptSignal(syscall.SIGKILL), "exits": scriptExits, "until": scriptUntil, "certificate": scriptCertificate,
			"fetch": scriptFetch,
		},
	})
}

// scriptBroker starts a broker whose data is in the script's directory.
func scriptBroker(ts *testscript.TestScript, neg bool, args []string) {
	listen := ts.Getenv("ZBUS_SERVER")
	if listen == "" {
		found, err := zbustest.FindAddr()
		ts.Check(err)
		listen = found
	}
	cmd := exec.Command(os.Getenv(binaryVariable), append([]string{"serve", "--listen", listen, "--data", ts.MkAbs("data")}, args...)...)
	cmd.Env, cmd.Dir = []string{"HOME=/"}, ts.MkAbs(".")
	out, err := os.CreateTemp(ts.MkAbs("."), "broker-*")
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = out, out
	ts.Check(cmd.Start())
	_ = out.Close() // the broker has it
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	ts.Defer(func() { _ = cmd.Process.Kill(); <-ended })
	awaitText(ts, out.Name(), "\nstop        Ctrl-C\n", ended) // the end of the banner, and of nothing else
	for line := range strings.Lines(ts.ReadFile(out.Name())) {
		if url, ok := strings.CutPrefix(line, "listening "); ok {
			address := strings.Fields(url)[0]
			ts.Setenv("ZBUS_SERVER", strings.TrimPrefix(strings.TrimPrefix(address, "http://"), "https://"))
		}
	}
	ts.Setenv("BROKER_PID", strconv.Itoa(cmd.Process.Pid))
}

// scriptFetch asks for a URL.
func scriptFetch(ts *testscript.TestScript, _ bool, args []string) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(args[1])
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if strconv.Itoa(resp.StatusCode) != args[0] {
		ts.Fatalf("%s: %s: %s", args[1], resp.Status, body)
	}
	_, err = ts.Stdout().Write(body)
	ts.Check(err)
}

// scriptSignal ends the broker by a signal, and returns when the process is gone.
func scriptSignal(signal syscall.Signal) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		pid, err := strconv.Atoi(ts.Getenv("BROKER_PID"))
		ts.Check(err)
		broker, err := os.FindProcess(pid)
		ts.Check(err)
		ts.Check(broker.Signal(signal))
		for start := time.Now(); broker.Signal(syscall.Signal(0)) == nil; time.Sleep(time.Millisecond) {
			if time.Since(start) > patience {
				ts.Fatalf("the broker still runs %v after signal %v", patience, signal)
			}
		}
	}
}

// scriptExits runs zbus and wants an exit code.
func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("zbus", args[1:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptUntil waits for a text in a file.
func scriptUntil(ts *testscript.TestScript, _ bool, args []string) {
	awaitText(ts, ts.MkAbs(args[1]), args[0], nil)
}

// patience is how long anything may take.
const patience = time.Minute

// awaitText returns when a file that another process writes has text in it.
func awaitText(ts *testscript.TestScript, path, text string, ended <-chan struct{}) {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		content, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(content), text) {
			return
		}
		select {
		case <-ended:
			ts.Fatalf("it has ended: %s", content)
		default:
		}
		if time.Since(start) > patience {
			ts.Fatalf("no %q in %s: %s", text, path, content)
		}
	}
}

// scriptCertificate writes a certificate that signs itself.
func scriptCertificate(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	names := []string{"cert.pem", "key.pem"}
	if len(args) > 0 {
		names = []string{args[0] + ".pem", args[0] + ".key"}
		template.URIs = []*url.URL{{Scheme: "zbus", Opaque: "account/" + args[0]}}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	private, err := x509.MarshalECPrivateKey(key)
	ts.Check(err)
	for name, block := range map[string]*pem.Block{
		names[0]: {Type: "CERTIFICATE", Bytes: cert}, names[1]: {Type: "EC PRIVATE KEY", Bytes: private},
	} {
		ts.Check(os.WriteFile(ts.MkAbs(name), pem.EncodeToMemory(block), 0o600))
	}
}
