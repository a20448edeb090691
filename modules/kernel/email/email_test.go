package email_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/email"
)

func TestAddressesAreBroughtToOneForm(t *testing.T) {
	local64, label63 := strings.Repeat("l", 64), strings.Repeat("d", 63)
	for _, c := range []struct{ in, want string }{
		{"ada@example.com", "ada@example.com"},
		{"Ada.Lovelace@EXAMPLE.Com", "ada.lovelace@example.com"},
		{"a@b.c", "a@b.c"},
		{"ada+shop@example.co.uk", "ada+shop@example.co.uk"},
		{"!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"},
		{"-@example.com", "-@example.com"},
		{"1@2.example", "1@2.example"},
		{"ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"},
		{"ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"},
		{"ada@a--b.example", "ada@a--b.example"},
		{local64 + "@example.com", local64 + "@example.com"},
		{"ada@" + label63 + ".com", "ada@" + label63 + ".com"},
		{address(254), address(254)},
	} {
		switch got, err := email.Canonical(c.in); {
		case err != nil:
			t.Errorf("Canonical(%q): %v, want %q", c.in, err, c.want)
		case got != c.want:
			t.Errorf("Canonical(%q): %q, want %q", c.in, got, c.want)
		}
	}
}

func TestOtherTextsAreRefused(t *testing.T) {
	for name, in := range map[string]string{
		"empty":                     "",
		"no at":                     "ada.example.com",
		"only at":                   "@",
		"no local part":             "@example.com",
		"no domain":                 "ada@",
		"two ats":                   "ada@eve@example.com",
		"no dot in domain":          "a@b",
		"leading dot":               ".ada@example.com",
		"trailing dot":              "ada.@example.com",
		"double dots":               "ada..l@example.com",
		"leading dot in domain":     "ada@.example.com",
		"trailing dot in domain":    "ada@example.com.",
		"double dots in domain":     "ada@example..com",
		"label starts with hyphen":  "ada@-example.com",
		"label ends with hyphen":    "ada@example-.com",
		"underscore in domain":      "ada@ex_ample.com",
		"leading space":             " ada@example.com",
		"trailing space":            "ada@example.com ",
		"trailing newline":          "ada@example.com\n",
		"header injection":          "ada@example.com\r\nBcc:eve@example.com",
		"tab":                       "a\tda@example.com",
		"NUL":                       "ada\x00@example.com",
		"NUL in domain":             "ada@example.com\x00",
		"DEL":                       "ada\x7f@example.com",
		"comma list":                "ada@example.com,eve@example.com",
		"semicolon list":            "ada@example.com;eve@example.com",
		"display name":              "Ada <ada@example.com>",
		"angle brackets":            "<ada@example.com>",
		"quoted local part":         `"ada"@example.com`,
		"quoted with space":         `"ada l"@example.com`,
		"backslash":                 `a\da@example.com`,
		"comment":                   "ada(l)@example.com",
		"mailto":                    "mailto:ada@example.com",
		"IPv4 literal":              "ada@[127.0.0.1]",
		"IPv6 literal":              "ada@[IPv6:::1]",
		"bare IPv4":                 "ada@127.0.0.1",
		"bare IPv6":                 "ada@::1",
		"port":                      "ada@example.com:25",
		"dotless i":                 "mıke@example.com",
		"Kelvin sign":               "\u212Aim@example.com",
		"long s":                    "ada@example.ſe",
		"fullwidth at":              "ada＠example.com",
		"fullwidth dot":             "ada@example．com",
		"Cyrillic a":                "аda@example.com",
		"IDN not as punycode":       "ada@bücher.example",
		"zero width space":          "ada\u200b@example.com",
		"right-to-left override":    "ada\u202e@example.com",
		"soft hyphen in domain":     "ada@exam\u00adple.com",
		"byte order mark":           "\ufeffada@example.com",
		"invalid UTF-8":             "ada\xff@example.com",
		"local part of 65":          strings.Repeat("l", 65) + "@example.com",
		"label of 64":               "ada@" + strings.Repeat("d", 64) + ".com",
		"255 bytes":                 address(255),
		"4000 bytes":                address(4000),
		"4000 bytes of local part":  strings.Repeat("l", 4000) + "@example.com",
		"4000 dots":                 "ada@" + strings.Repeat(".", 4000),
		"percent-encoded separator": "ada%40example.com",
	} {
		if got, err := email.Canonical(in); got != "" || !errors.Is(err, email.ErrInvalid) {
			t.Errorf("%s: %q, %v, want ErrInvalid and nothing else", name, got, err)
		}
	}
}

func TestRefusalDoesNotRepeatTheInput(t *testing.T) {
	_, err := email.Canonical("squeamish ossifrage")
	if err == nil || strings.Contains(err.Error(), "ossifrage") {
		t.Errorf("error %q, want one that does not repeat the input", err)
	}
}

// address is a valid address in every respect but, perhaps, its length of n.
func address(n int) string {
	var b strings.Builder
	b.WriteString("ada@")
	for n-b.Len() > 66 {
		b.WriteString(strings.Repeat("d", 61) + ".")
	}
	return b.String() + strings.Repeat("d", n-b.Len()-4) + ".com"
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		"ada@example.com", "Ada@EXAMPLE.com", "a@b", "mıke@example.com", "ada＠example.com", "ada\x00@example.com",
		"a@b.c,d@e.f", `"a b"@c.d`, "a@[1.2.3.4]", "a..b@c.d", "a@xn--bcher-kva.example",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := email.Canonical(s)
		if err != nil {
			if got != "" || !errors.Is(err, email.ErrInvalid) {
				t.Fatalf("Canonical(%q): %q, %v, want nothing and ErrInvalid", s, got, err)
			}
			return
		}
		for i := range len(got) {
			if got[i] <= ' ' || got[i] >= 0x7f || strings.IndexByte(`,;:<>()[]"\`, got[i]) >= 0 {
				t.Fatalf("Canonical(%q) = %q has the byte %#x", s, got, got[i])
			}
		}
		if again, err := email.Canonical(got); err != nil || again != got {
			t.Fatalf("Canonical(%q) = %q, %v, want the same again", got, again, err)
		}
		if !strings.EqualFold(s, got) || len(s) != len(got) {
			t.Fatalf("Canonical(%q) = %q differs by more than ASCII case", s, got)
		}
		// All spellings that differ in ASCII case only have one form.
		if upper, err := email.Canonical(strings.ToUpper(s)); err != nil || upper != got {
			t.Fatalf("Canonical of %q in upper case = %q, %v, want %q", s, upper, err, got)
		}
	})
}
