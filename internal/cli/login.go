package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// loginTime is how long the token of a login with a password is good.
const loginTime = 90 * 24 * time.Hour

// loginFlags are the flags of zbus login.
type loginFlags struct {
	account       string
	stdin, tokens bool
	helper        string // the program that is to keep the token
	file          bool   // it is to be kept in the file of contexts
}

func (a *app) loginCommand() *cobra.Command {
	var o loginFlags
	cmd := &cobra.Command{
		Use: "login", Short: "Say who you are, and save a token for it", Args: wants(),
		Long: "Save a token for the broker in the context that is in use, or in a new one named like the\n" +
			"broker's address. With an account and its password a token is created for 90 days;\n" +
			"--token-stdin saves one that you were given. Either is tried first.\n\n" +
			"The token is kept in the keyring of the system where one can be used: with secret-tool of\n" +
			"libsecret and a session bus, or on macOS; otherwise in the file of contexts, which only you\n" +
			"can read (see zbus context). --no-keyring keeps it in the file, --helper in a program of\n" +
			"yours: it is run with get, store or erase, and reads one line of JSON with context, server\n" +
			"and, to be stored, token; for get it prints such an object with the token.",
		Example: "  zbus login\n  pass show zbus | zbus login --account ann --password-stdin\n" +
			"  zbus login --server mq.example.com:15555 --token-stdin < shop.token",
		RunE: a.run(func(ctx context.Context, i *invocation) error { return i.login(ctx, &o) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.account, "account", "", "the `NAME` of your account")
	f.BoolVar(&o.stdin, "password-stdin", false, "read the password from standard input")
	f.BoolVar(&o.tokens, "token-stdin", false, "read a token from standard input, instead of a password")
	f.StringVar(&o.helper, "helper", "", "`PROGRAM` that keeps the token, until zbus logout")
	f.BoolVar(&o.file, "no-keyring", false, "keep the token in the file of contexts")
	a.connected(cmd)
	return cmd
}

func (i *invocation) login(ctx context.Context, o *loginFlags) error {
	switch {
	case o.tokens && (o.stdin || o.account != ""):
		return usage("login: --token-stdin needs neither an account nor a password")
	case o.stdin && o.account == "":
		return usage("login: --account is missing")
	case o.file && o.helper != "":
		return usage("login: --helper and --no-keyring exclude each other")
	}
	at, err := i.servers.choose()
	if err != nil {
		return err
	}
	s, err := at.context.resolve()
	if err != nil {
		return err
	}
	s.Token = ""
	c, err := s.api()
	if err != nil {
		return err
	}
	who, err := do[apimodel.Whoami](ctx, c, "GET /whoami", nil)
	if err != nil {
		return err
	}
	if who.value.Access == "off" {
		return usage("login: access is off at %s: all clients may do everything, and no login is needed", s.Host)
	}
	token := newLogin{}
	if o.tokens {
		lines, err := i.secretLines(ctx, "token alone, in one line", 1)
		if err != nil {
			return err
		}
		token.text = strings.TrimSpace(lines[0])
	} else if token, err = i.tokenForPassword(ctx, c, o); err != nil {
		return err
	}
	s.Token, c.account, c.password = token.text, "", ""
	if who, err = do[apimodel.Whoami](ctx, c, "GET /whoami", nil); err != nil {
		return err
	}
	in, err := i.keep(ctx, at, s, token, o)
	if err != nil {
		return err
	}
	if err := at.save(s, token, in); err != nil {
		return i.notSaved(ctx, at, s, token, in, err)
	}
	if at.context.Helper != in {
		i.forget(ctx, at.saved(s), at.context)
	}
	i.revokeLogin(ctx, s, at.context.Login) // which it replaces
	place := ""
	if in != "" {
		place = in.String() + ", for "
	}
	i.say("logged in to %s as %s; the token is in %sthe context %s", s.Host, text(who.value.Account), place, at.saved(s))
	return nil
}

// keep gives the token of a login to what is to keep it. Where the keyring can't, the file does.
func (i *invocation) keep(ctx context.Context, at *choice, s *Server, token newLogin, o *loginFlags) (vault, error) {
	k := kept{Context: at.saved(s), Server: at.context.Server, Token: token.text}
	in := at.context.Helper
	switch {
	case o.file:
		in = ""
	case o.helper != "":
		in = vault(o.helper)
	case in == "":
		in = thisKeyring()
	}
	if err := in.store(ctx, k); in != "" && err != nil {
		if in != keyring {
			return "", fail(ErrIncomplete, "the token is not kept: %v", err)
		}
		i.say("the keyring does not keep the token: %v", err)
		in = ""
	}
	return in, nil
}

// notSaved takes a login back whose context could not be saved: the one before is as good as it was,
// unless the same vault has the new token in its place.
func (i *invocation) notSaved(ctx context.Context, at *choice, s *Server, token newLogin, in vault, err error) error {
	if in != "" && in == at.context.Helper {
		return err
	}
	i.revokeLogin(ctx, s, token.id)
	return errors.Join(err, in.erase(ctx, kept{Context: at.saved(s), Server: at.context.Server}))
}

// newLogin is a token to be saved.
type newLogin struct {
	text string
	id   string // "": it was not created for this
}

// tokenForPassword creates a token for who has a password.
func (i *invocation) tokenForPassword(ctx context.Context, c *api, o *loginFlags) (t newLogin, err error) {
	if c.account = o.account; c.account == "" {
		if c.account, err = i.askLine(ctx, "Account"); err != nil {
			return t, err
		}
	}
	if o.stdin {
		c.password, err = i.newPassword(ctx, true)
	} else {
		c.password, err = i.askSecret(ctx, "Password")
	}
	if err != nil {
		return t, err
	}
	host, _ := os.Hostname() // a note that says less will do
	d, err := do[apimodel.NewToken](ctx, c, "POST /tokens", apimodel.TokenSpec{
		Account: ptr(c.account), Note: ptr("zbus login on " + host), Expires: ptr(time.Now().Add(loginTime)),
	})
	return newLogin{d.value.Token, d.value.Id}, err
}

func (a *app) logoutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "logout", Short: "Forget the token that zbus login has saved", Args: wants(), Example: "  zbus logout",
		Long: "Remove the token from the context that is in use. One that zbus login has created is revoked;\n" +
			"others stay good, as another person may have them.",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			at, err := i.servers.choose()
			if err != nil {
				return err
			}
			s, err := at.context.resolve()
			if err != nil {
				return err
			}
			if at.name == "" || at.context.hasToken() == "" {
				return fail(zbus.ErrNotFound, "no token is saved for %s", s.Host)
			}
			if s.Token, err = at.token(ctx); err != nil {
				i.say("%v", err)
			}
			i.revokeLogin(ctx, s, at.context.Login)
			if err := at.context.Helper.erase(ctx, kept{Context: at.name, Server: at.context.Server}); err != nil {
				return fail(ErrIncomplete, "the token is still in %s: %v", at.context.Helper, err)
			}
			if err := at.save(s, newLogin{}, ""); err != nil {
				return err
			}
			i.say("the token for %s is removed from the context %s", s.Host, at.name)
			return nil
		}),
	}
	return a.connected(cmd)
}

// revokeLogin revokes the token that a login has created, as far as that is possible.
func (i *invocation) revokeLogin(ctx context.Context, s *Server, id string) {
	if id == "" {
		return
	}
	c, err := s.api()
	if err == nil {
		_, err = c.answer(c.send(ctx, "DELETE /tokens/{token}", nil, id))
	}
	if err != nil && !errors.Is(err, zbus.ErrUnauthorized) && !errors.Is(err, zbus.ErrNotFound) { // then it is revoked
		i.say("the token is not revoked: %v; an administrator can do it: zbus token revoke %s", err, id)
	}
}
