package socket

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"
)

func TestAPanicEndsItsConnectionAndIsLoggedWithoutItsText(t *testing.T) {
	client, conn := net.Pipe()
	defer client.Close()
	var log bytes.Buffer
	Go(slog.New(slog.NewTextHandler(&log, nil)), conn, func() { panic("token: s3cret") })
	if _, err := client.Read(make([]byte, 1)); err == nil { // the log was written before it is closed
		t.Fatal("the connection is open")
	}
	if said := log.String(); strings.Contains(said, "s3cret") || !strings.Contains(said, "panic=string") || !strings.Contains(said, "apart_test.go") {
		t.Errorf("logged: %s", said)
	}
}
