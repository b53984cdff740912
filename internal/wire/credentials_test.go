package wire

import "testing"

func TestURLsAreStoredWithoutCredentials(t *testing.T) {
	for raw, want := range map[string]string{
		"/":                                    "/",
		"/x?token=T":                           "/x?token=redacted",
		"/x?a=1&Token=T&b=2":                   "/x?a=1&Token=redacted&b=2",
		"/x?%74oken=T":                         "/x?%74oken=redacted",
		"/x?access_token=a=b&&x-api-key=K#y":   "/x?access_token=redacted&&x-api-key=redacted#y",
		"/x?a=1;password=P;b=2":                "/x?a=1;password=redacted;b=2",
		"/x;jsessionid=S/y?q=author":           "/x;jsessionid=redacted?q=author",
		"/x#access_token=T":                    "/x#access_token=redacted",
		"http://u:p@h:1/x?q=a@b":               "http://h:1/x?q=a@b",
		"//u:p@h/x":                            "//h/x",
		"u:p@h:443":                            "h:443",
		"/a@b?c=d@e":                           "/a@b?c=d@e",
		"/x?token=":                            "/x?token=",
		"/x?author=A&code=600000&key=k":        "/x?author=A&code=600000&key=k",
		"/x?q=token":                           "/x?q=token",
		"/x?X-Amz-Signature=S&client_secret=C": "/x?X-Amz-Signature=redacted&client_secret=redacted",
		"/x?user[password]=P":                  "/x?user[password]=redacted",
	} {
		if got := WithoutCredentials(raw); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}
