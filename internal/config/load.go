package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/rushmore/zbus-go/internal/closest"
)

const (
	prefix   = "ZBUS_"
	fileName = "config" // the flag and variable that name the file; not a key in it
	nesting  = "."      // joins the keys of nested YAML, none of which are ours
)

// Register adds a flag for every setting, and --config, to fs.
func Register(fs *pflag.FlagSet) {
	fs.Var(&flag{arg: "FILE"}, fileName, "settings in YAML, named like these flags")
	defaults := Default()
	for _, s := range settings(&defaults) {
		f := fs.VarPF(&flag{text: s.value.String(), arg: s.arg, several: several(s.value)}, s.name, "", s.usage)
		if _, toggles := s.value.(toggle); toggles {
			f.NoOptDefVal = "true"
		}
	}
}

// Load merges the flags of fs (see [Register]; already parsed), the ZBUS_
// variables of environ, the file that --config or ZBUS_CONFIG names, and the
// defaults. Every error is the operator's to mend and is one line.
func Load(fs *pflag.FlagSet, environ []string) (Config, error) {
	c := Default()
	table := settings(&c)
	given := koanf.New(nesting)
	if err := loadEnvironment(given, environ, table); err != nil {
		return c, err
	}
	if err := given.Load(posflag.ProviderWithFlag(fs, nesting, nil, flagText), nil); err != nil {
		return c, fmt.Errorf("flags: %w", err)
	}
	all := koanf.New(nesting)
	if path := given.String(fileName); path != "" {
		if err := loadFile(all, path, table); err != nil {
			return c, err
		}
	}
	if err := all.Merge(given); err != nil {
		return c, fmt.Errorf("settings: %w", err)
	}
	for _, s := range table {
		if !all.Exists(s.name) {
			continue
		}
		text, err := plain(all.Get(s.name), s)
		if err != nil {
			return c, err
		}
		if !s.value.set(text) || !s.value.valid() {
			return c, s.fault(text)
		}
	}
	return c, c.Validate()
}

// flag keeps the text of a flag as it was given. It is judged along with the
// other sources, so that a bad value reads the same wherever it comes from.
type flag struct {
	text    string
	arg     string // what it takes; empty for a flag that may stand alone
	several bool   // later uses add to earlier ones
	used    bool
}

func (f *flag) String() string { return f.text }

func (f *flag) Set(s string) error {
	if f.several && f.used {
		s = f.text + "," + s
	}
	f.text, f.used = s, true
	return nil
}

// Type is what help writes behind the flag's name. It knows "bool" as the type
// behind which there is nothing.
func (f *flag) Type() string {
	if f.arg == "" {
		return "bool"
	}
	return f.arg
}

// flagText leaves out the flags that Register did not add, such as --help.
func flagText(f *pflag.Flag) (string, any) {
	if _, ours := f.Value.(*flag); !ours {
		return "", nil
	}
	return f.Name, f.Value.String()
}

// ofClients are variables for the commands that use a broker.
var ofClients = []string{"ZBUS_SERVER", "ZBUS_TOKEN", "ZBUS_CONTEXT"}

func loadEnvironment(k *koanf.Koanf, environ []string, table []setting) error {
	byVariable := map[string]string{variable(fileName): fileName}
	for _, s := range table {
		byVariable[variable(s.name)] = s.name
	}
	ignored := Ignored(environ)
	var unknown error
	err := k.Load(env.Provider(nesting, env.Opt{
		Prefix:      prefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(key, text string) (string, any) {
			if text == "" {
				return "", nil // as if it was not set
			}
			name, ok := byVariable[key]
			if !ok && unknown == nil && !slices.Contains(ignored, key) && !slices.Contains(ofClients, key) {
				near := variable(closest.To(settingName(key), append(names(table), fileName)))
				unknown = fmt.Errorf("%s: unknown variable; the closest setting is %s", key, near)
			}
			return name, text
		},
	}), nil)
	return errors.Join(unknown, err)
}

// Ignored lists the variables of environ that are no settings: those that Kubernetes and
// Docker put into the environment of a container for a service called zbus or
// zbus-something, whether one wants it or not.
func Ignored(environ []string) (names []string) {
	inPod := slices.ContainsFunc(environ, func(e string) bool { return strings.HasPrefix(e, "KUBERNETES_SERVICE_HOST=") })
	for _, e := range environ {
		key, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(key, prefix) && isServiceLink(key, value, inPod) {
			names = append(names, key)
		}
	}
	return names
}

// isServiceLink recognises one. Outside a pod a ZBUS_PORT that is a number is a guess of
// people, who have to be told.
func isServiceLink(key, value string, inPod bool) bool {
	port := strings.HasSuffix(key, "_PORT") || strings.Contains(key, "_PORT_")
	return strings.Contains(key, "_SERVICE_HOST") || strings.Contains(key, "_SERVICE_PORT") || strings.HasPrefix(key, prefix+"SERVICE_") ||
		port && (inPod || strings.Contains(value, "://") || strings.Contains(key, "_TCP") || strings.Contains(key, "_UDP"))
}

func settingName(key string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(key, prefix), "_", "-"))
}

func loadFile(k *koanf.Koanf, path string, table []setting) error {
	if err := k.Load(file.Provider(path), oneDocument{yaml.Parser()}); err != nil {
		// The YAML parser writes a line for each thing it dislikes.
		return fmt.Errorf("config file %q: %s", path, strings.Join(strings.Fields(err.Error()), " "))
	}
	known := names(table)
	for _, key := range k.Keys() {
		if !slices.Contains(known, key) {
			return fmt.Errorf("config file %q: unknown setting %q; the closest is %q", path, key, closest.To(key, known))
		}
	}
	return nil
}

// oneDocument is a parser that refuses a file with a second document, which the other
// would pass over.
type oneDocument struct{ *yaml.YAML }

// Unmarshal parses a file.
func (p oneDocument) Unmarshal(b []byte) (map[string]any, error) {
	documents := yamlv3.NewDecoder(bytes.NewReader(b))
	var first, second yamlv3.Node
	if err := documents.Decode(&first); err == nil && !errors.Is(documents.Decode(&second), io.EOF) {
		return nil, errors.New("more than one document: put all settings in the first, without a line of ---")
	}
	return p.YAML.Unmarshal(b)
}

func names(table []setting) []string {
	all := make([]string, 0, len(table)+1)
	for _, s := range table {
		all = append(all, s.name)
	}
	return all
}

// plain is the text of what one source gave for s. YAML has typed values.
func plain(v any, s setting) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case []any:
		if !several(s.value) {
			return "", fmt.Errorf("%s: must be one value, not a list", s.name)
		}
		parts := make([]string, len(v))
		for i, p := range v {
			parts[i] = fmt.Sprint(p)
		}
		return strings.Join(parts, ","), nil
	default:
		return fmt.Sprint(v), nil
	}
}
