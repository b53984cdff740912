package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/zbus"
)

// Context is a saved server.
type Context struct {
	Server      string `json:"server"`
	Token       string `json:"token,omitempty"`  // "": there is none, or Helper has it
	Login       string `json:"login,omitempty"`  // the id of the token, if zbus login has created it
	Helper      vault  `json:"helper,omitempty"` // what keeps the token; "": this file
	TLSCA       string `json:"tlsCA,omitempty"`
	TLSCert     string `json:"tlsCert,omitempty"`
	TLSKey      string `json:"tlsKey,omitempty"`
	TLSInsecure bool   `json:"tlsInsecure,omitempty"`
}

// contexts is the file of saved servers.
type contexts struct {
	Current  string             `json:"current,omitempty"`
	Contexts map[string]Context `json:"contexts"`
}

// contextsPath is where the file is: zbus/contexts.json in the user's directory for
// configuration.
func contextsPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usage("contexts are kept in the user's directory for configuration: %v", err)
	}
	return filepath.Join(dir, "zbus", "contexts.json"), nil
}

// loadContexts reads the file. One that is not there has no contexts.
func loadContexts() (*contexts, error) {
	all := &contexts{Contexts: map[string]Context{}}
	path, err := contextsPath()
	if err != nil {
		return all, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, all); err != nil || all.Contexts == nil {
		return nil, fail(ErrData, "%s: not a file of contexts: %v", path, err)
	}
	return all, nil
}

// save writes the file, for its owner only. It is the old one or the new one, whatever
// happens.
func (c *contexts) save() (err error) {
	path, err := contextsPath()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".contexts-*") // its mode is 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// find returns a context, or how to see which there are.
func (c *contexts) find(name string) (Context, error) {
	found, ok := c.Contexts[name]
	if ok {
		return found, nil
	}
	if len(c.Contexts) == 0 {
		return found, fail(zbus.ErrNotFound, "no context %q: there are none yet; save one with zbus context add NAME --server HOST:PORT", name)
	}
	return found, fail(zbus.ErrNotFound, "no context %q; there are: %s", name, strings.Join(c.names(), ", "))
}

func (c *contexts) names() []string { return slices.Sorted(maps.Keys(c.Contexts)) }

// serving is the name of a context with a server, the current one first; "" if there is none.
func (c *contexts) serving(server string) string {
	for _, name := range append([]string{c.Current}, c.names()...) {
		if saved, ok := c.Contexts[name]; ok && saved.Server == server {
			return name
		}
	}
	return ""
}

// contextCommand is the noun for saved servers.
func (a *app) contextCommand() *cobra.Command {
	return a.shows(parent("context", "Save servers and choose one of them",
		"Save servers under names, with their tokens, and choose the one that commands use.\n\n"+
			"They are in zbus/contexts.json in your directory for configuration (~/.config), which\n"+
			"only you can read. --context NAME or ZBUS_CONTEXT uses another one for once.",
		a.contextAdd(), a.contextList(), a.contextUse(), a.contextShow(), a.contextRemove()))
}

func (a *app) contextAdd() *cobra.Command {
	var c Context
	var use, readToken bool
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Save a server, or change a saved one",
		Example: "  zbus context add prod --server https://mq.example.com:15555 --use\n" +
			"  pass show zbus | zbus context add prod --server mq.example.com:15555 --token-stdin",
		Args: wants("NAME"), ValidArgsFunction: a.completeContexts,
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			if readToken {
				text, err := readAll(ctx, i.in)
				if err != nil {
					return err
				}
				c.Token = strings.TrimSpace(string(text))
			}
			return i.addContext(ctx, i.args[0], c, use)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&c.Server, "server", "", "`HOST:PORT` or URL of the broker")
	f.BoolVar(&readToken, "token-stdin", false, "read the token from standard input")
	f.StringVar(&c.TLSCA, "tls-ca", "", "encrypt, and trust the certificates in this PEM `FILE`")
	f.StringVar(&c.TLSCert, "tls-cert", "", "encrypt, and show the client certificate in this PEM `FILE`")
	f.StringVar(&c.TLSKey, "tls-key", "", "PEM `FILE` with its key, unless that is in the same file")
	f.BoolVar(&c.TLSInsecure, "tls-insecure", false, "encrypt, and accept any certificate")
	f.BoolVar(&use, "use", false, "use it from now on (the first one is used anyway)")
	return cmd
}

func (i *invocation) addContext(ctx context.Context, name string, c Context, use bool) error {
	if name == "" || strings.ContainsAny(name, " \t\r\n/,") {
		return usage("context name %q: must have no spaces, commas or slashes", name)
	}
	if c.Server == "" {
		return usage("context add: --server is missing: HOST:PORT or a URL of the broker")
	}
	if err := c.absolute(); err != nil {
		return err
	}
	if _, err := c.resolve(); err != nil {
		return err
	}
	all, err := loadContexts()
	if err != nil {
		return err
	}
	before := all.Contexts[name]
	all.Contexts[name] = c
	if use || all.Current == "" {
		all.Current = name
	}
	if err := all.save(); err != nil {
		return err
	}
	i.forget(ctx, name, before)
	if all.Current == name {
		i.say("context %s: %s, in use", name, c.Server)
	} else {
		i.say("context %s: %s; use it with zbus context use %s", name, c.Server, name)
	}
	return nil
}

func (a *app) contextList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Example: "  zbus context list", Short: "List the saved servers", Args: wants(), Aliases: []string{"ls"},
		RunE: a.run(func(_ context.Context, i *invocation) error {
			all, err := loadContexts()
			if err != nil {
				return err
			}
			t := newTable("", "NAME", "SERVER", "TOKEN")
			for _, name := range all.names() {
				c := all.Contexts[name]
				if i.json {
					if err := i.printJSON(contextView(name, c, all)); err != nil {
						return err
					}
					continue
				}
				t.add(mark(name == all.Current, "*"), name, c.Server, c.hasToken())
			}
			if i.json {
				return nil
			}
			return i.printTable(t, "no contexts; save one with zbus context add NAME --server HOST:PORT")
		}),
	}
}

// hasToken says whether a token is saved, and where if not in the file; "" if none is.
func (c *Context) hasToken() string {
	if c.Helper != "" {
		return "in " + c.Helper.String()
	}
	return mark(c.Token != "", "saved")
}

// forget has the token erased of a context that was replaced, wherever it is kept but in the file. It is
// called when the file is saved: without that the token before is still the one to use.
func (i *invocation) forget(ctx context.Context, name string, before Context) {
	if err := before.Helper.erase(ctx, kept{Context: name, Server: before.Server}); err != nil {
		i.say("the token before is still in %s: %v", before.Helper, err)
	}
}

// contextView is what is shown of a context: all but its token.
func contextView(name string, c Context, all *contexts) any {
	return struct {
		Name     string `json:"name"`
		Server   string `json:"server"`
		HasToken bool   `json:"hasToken"`
		TLSCA    string `json:"tlsCA,omitempty"`
		TLSCert  string `json:"tlsCert,omitempty"`
		TLSKey   string `json:"tlsKey,omitempty"`
		Insecure bool   `json:"tlsInsecure,omitempty"`
		Current  bool   `json:"current"`
	}{name, c.Server, c.hasToken() != "", c.TLSCA, c.TLSCert, c.TLSKey, c.TLSInsecure, name == all.Current}
}

func (a *app) contextUse() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Example: "  zbus context use prod", Short: "Choose the server that commands use", Args: wants("NAME"), ValidArgsFunction: a.completeContexts,
		RunE: a.run(func(_ context.Context, i *invocation) error {
			all, err := loadContexts()
			if err != nil {
				return err
			}
			c, err := all.find(i.args[0])
			if err != nil {
				return err
			}
			all.Current = i.args[0]
			if err := all.save(); err != nil {
				return err
			}
			i.say("using %s: %s", all.Current, c.Server)
			return nil
		}),
	}
}

func (a *app) contextShow() *cobra.Command {
	return &cobra.Command{
		Use: "show [NAME]", Example: "  zbus context show prod", Short: "Show a saved server, or the one in use", Args: wants("[NAME]"), ValidArgsFunction: a.completeContexts,
		RunE: a.run(func(_ context.Context, i *invocation) error {
			all, err := loadContexts()
			if err != nil {
				return err
			}
			name := all.Current
			if len(i.args) > 0 {
				name = i.args[0]
			}
			if name == "" {
				return fail(zbus.ErrNotFound, "no context is in use; commands go to %s", DefaultServer)
			}
			c, err := all.find(name)
			if err != nil {
				return err
			}
			if i.json {
				return i.printJSON(contextView(name, c, all))
			}
			return i.printFields(
				"name", name, "server", c.Server, "token", c.hasToken(),
				"tls-ca", c.TLSCA, "tls-cert", c.TLSCert, "tls-key", c.TLSKey, "tls-insecure", mark(c.TLSInsecure, "yes"), "in use", yesNo(name == all.Current))
		}),
	}
}

func (a *app) contextRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Example: "  zbus context remove prod", Short: "Forget a saved server and its token", Aliases: []string{"rm"},
		Args: wants("NAME"), ValidArgsFunction: a.completeContexts,
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			all, err := loadContexts()
			if err != nil {
				return err
			}
			before, err := all.find(i.args[0])
			if err != nil {
				return err
			}
			delete(all.Contexts, i.args[0])
			if all.Current == i.args[0] {
				all.Current = ""
			}
			if err := all.save(); err != nil {
				return err
			}
			i.forget(ctx, i.args[0], before)
			return nil
		}),
	}
}
