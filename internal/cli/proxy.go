package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/proxy"
	"github.com/rushmore/zbus-go/zbus"
)

// publishing is what zbus proxy is to do.
type publishing struct {
	topic, target string
	preserve      bool
	insecure      bool
	most          int
	timeout       duration
	quiet         bool
}

// maxProxied is the largest body that any broker can be set to let through.
const maxProxied = 512 << 20

// proxyCommand is the verb that publishes an HTTP server.
func (a *app) proxyCommand() *cobra.Command {
	o := publishing{timeout: duration{30 * time.Second}}
	cmd := &cobra.Command{
		Use: "proxy --topic TOPIC --target URL", Short: "Publish an HTTP server that the broker can't reach", Args: wants(),
		Long: "Connect out to the broker and forward HTTP requests to a server near here: what is asked\n" +
			"of the broker below /proxy/TOPIC/ comes out at the target, and the answer goes back. No\n" +
			"port has to be open where this runs. The topic is created if it does not exist. Several\n" +
			"proxies of one topic share its requests. Ctrl-C takes no more and finishes those that\n" +
			"are under way.\n\n" +
			"The target sees X-Forwarded-For, -Host, -Proto and -Prefix, and no other header that says\n" +
			"who asks. Bearer tokens, and cookies named token or zbus…, are for the broker and stay\n" +
			"there. Paths with . or .. in them are refused, however encoded. Bodies may be as large as\n" +
			"the broker's messages (--max-body there). Connections can't be switched to another\n" +
			"protocol, such as that of WebSockets. Browsers run pages that come this way in a\n" +
			"sandbox, apart from the console.",
		Example: "  zbus proxy --topic shop --target http://127.0.0.1:8080\n" +
			"  zbus proxy --topic shop --target http://10.0.0.7/app --server zbus.example:15555 --tls-ca ca.pem\n" +
			"  curl http://127.0.0.1:15555/proxy/shop/",
		RunE: a.run(func(ctx context.Context, i *invocation) error { return i.proxy(ctx, &o) }),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.topic, "topic", "", "the `TOPIC` whose requests to take")
	f.StringVar(&o.target, "target", "", "`URL` of the server; a path in it goes before that of each request")
	f.BoolVar(&o.preserve, "preserve-host", false, "ask the target for the name that the client asked for")
	f.BoolVar(&o.insecure, "target-insecure", false, "accept any certificate of the target")
	f.IntVar(&o.most, "concurrency", 64, "what `NUMBER` of requests is under way at a time")
	f.Var(&o.timeout, "timeout", "how long the target may take for a request")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not list the requests")
	_ = cmd.RegisterFlagCompletionFunc("topic", a.completeTopic)
	return a.connected(cmd)
}

func (i *invocation) proxy(ctx context.Context, o *publishing) error {
	target, err := url.Parse(o.target)
	switch {
	case o.topic == "" || o.target == "":
		return usage("proxy: --topic and --target are needed, such as --topic shop --target http://127.0.0.1:8080")
	case err != nil:
		return usage("--target %q: must be an address such as http://127.0.0.1:8080", o.target)
	case o.most < 1 || o.most > 10_000:
		return usage("--concurrency %d: must be 1 to 10000", o.most)
	case o.timeout.Duration == 0:
		return usage("--timeout 0: a request must end some time")
	}
	c, err := i.dial(ctx, zbus.Options{MaxBody: maxProxied})
	if err != nil {
		return err
	}
	defer c.Close()
	level := slog.LevelInfo
	if o.quiet {
		level = slog.LevelError
	}
	p, err := proxy.New(c, proxy.Options{
		Topic: o.topic, Target: target, PreserveHost: o.preserve, Concurrency: o.most, Timeout: o.timeout.Duration,
		Transport: &http.Transport{
			DisableCompression: true, MaxIdleConnsPerHost: o.most, IdleConnTimeout: 90 * time.Second,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: o.insecure}, //nolint:gosec // asked for
		},
		Log: slog.New(slog.NewTextHandler(i.err, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return usage("proxy: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	i.awaitConsumer(ctx, c, o.topic, ended)
	select {
	case err = <-ended: // it did not begin
		ended <- err
	default:
		i.say("forwarding /proxy/%s/ to %s; Ctrl-C ends gracefully", o.topic, target.Redacted())
	}
	err = <-ended
	if errors.Is(err, proxy.ErrOtherKind) {
		return usage("proxy: %v", err)
	}
	return err
}
