package wire

import "testing"

func TestStaysBelow(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/a/b": true, "//twice//": true, "/a%2Fb/%C3%A4": true, "/..a/b..": true, "/a..b": true, "/...": true, "/50%": true, "/%zz": true,
		"/a;v=1/b": true, "/a%5Cb": true, "/a%20": true,
		"": false, "*": false, "a": false, "http://x/": false,
		"/..": false, "/../x": false, "/a/./b": false, "/%2e%2e/x": false, "/.%2E": false, "/..%2fx": false, "/a%2f..%2Fx": false,
		"/..%5cx": false, `/..\x`: false, "/a%5c..": false, "/..;/x": false, "/..;v=1/x": false, "/..%3bx/y": false, "/%2e%2e%3b/": false,
		"/%252e%252e/x": false, "/..%252fx": false, "/%25252e%25252e": false, "/x%2525252525": false, "/..%20/x": false, "/..%00": false,
	} {
		if got := StaysBelow(path); got != want {
			t.Errorf("%q: %t", path, got)
		}
	}
}

func TestSaysWhoAsks(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Forwarded-For": true, "X_Forwarded_For": true, "x-forwarded_user": true, "X-Real-IP": true, "X_real_ip": true, "Forwarded": true,
		"Remote-User": true, "X-Own": false, "X_Own": false, "Accept": false,
	} {
		if got := saysWhoAsks(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestWhatIsTheBrokersOwn(t *testing.T) {
	for value, want := range map[string]bool{"Bearer x": true, "bearer  x": true, " BEARER x": true, "Basic eDp5": false, "Digest a=b": false, "": false} {
		if got := brokersCredentials(value); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
	for name, want := range map[string]bool{"token": true, "zbus_session": true, "__Host-zbus": true, "__Secure-token": true, "session": false, "tokens": false} {
		if got := brokersCookie(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}
