package console_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/modules/user"
)

const mailboxPath = "/app/dev/mailbox"

// letters is a mailbox.
type letters []console.Mail

func (l letters) Mails() []console.Mail { return l }

var sent = letters{
	{ID: "2", From: "Latchkey <latchkey@localhost>", To: "ada@example.com", Subject: `Join <us> & "them"`, At: time.Now().Add(-3 * time.Hour),
		Text: "Hello <b>Ada</b>,\nopen (http://127.0.0.1/app/invite?token=a.b-c_d&x=1).\njavascript:alert(1) ftp://x/\n",
		HTML: `<!doctype html><p style="color:red">Hello</p><script>alert(1)</script>`},
	{ID: "1", To: "bob@example.com", Subject: "An older one", Text: "Text alone\n", At: time.Now().Add(-49 * time.Hour)},
}

func TestTheMailboxShowsWhatWasSent(t *testing.T) {
	eachWith(t, options{mailbox: sent}, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		b := s.browser(t)
		b.get("/app/login")
		b.want(http.StatusOK, "/app/login", `href="`+mailboxPath+`"`)
		for range 2 { // signed out, then in
			b.get(mailboxPath)
			b.want(http.StatusOK, mailboxPath, `href="/app/dev/mailbox/2">Join &lt;us&gt; &amp; &#34;them&#34;</a>`, "An older one", "3 hours ago", "2 days ago")
			if strings.Index(b.page.body, "mailbox/2") > strings.Index(b.page.body, "mailbox/1") {
				t.Error("the newest is not the first")
			}
			b.get(mailboxPath + "/2")
			b.want(http.StatusOK, mailboxPath+"/2", "<h1>Join &lt;us&gt; &amp; &#34;them&#34;</h1>", "Hello &lt;b&gt;Ada&lt;/b&gt;,", "Latchkey &lt;latchkey@localhost&gt;",
				`(<a href="http://127.0.0.1/app/invite?token=a.b-c_d&amp;x=1" rel="noreferrer">http://127.0.0.1/app/invite?token=a.b-c_d&amp;x=1</a>).`,
				`href="/app/dev/mailbox/2/html"`)
			b.wantNot(`href="javascript`, `href="ftp`, "<b>Ada")
			b.get(mailboxPath + "/1")
			b.want(http.StatusOK, mailboxPath+"/1", "Text alone")
			b.wantNot("/1/html")
			b.get(mailboxPath + "/3")
			b.want(http.StatusNotFound, mailboxPath+"/3", "not kept any more")
			b.signIn("ada@example.com")
			b.want(http.StatusOK, "/app", `href="`+mailboxPath+`"`)
		}
		for _, path := range []string{mailboxPath, mailboxPath + "/2", mailboxPath + "/2/html"} {
			if p := b.do(http.MethodHead, path, "", nil); p.status != http.StatusOK || p.body != "" {
				t.Errorf("HEAD %s: %d, %q", path, p.status, p.body)
			}
			b.do(http.MethodPost, path, form, nil)
			b.want(http.StatusMethodNotAllowed, path)
		}
	})
	eachWith(t, options{mailbox: letters(nil)}, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.get(mailboxPath)
		b.want(http.StatusOK, mailboxPath, "No mail yet", `href="/app/reset-password"`)
	})
}

// The HTML of a mail can be looked at, and do nothing.
func TestTheHTMLOfAMailIsShownInASandbox(t *testing.T) {
	eachWith(t, options{mailbox: sent}, func(t *testing.T, s *site) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+mailboxPath+"/2/html", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || string(body) != sent[0].HTML {
			t.Errorf("%d, %v\n%s", resp.StatusCode, err, body)
		}
		for name, want := range map[string]string{
			"Content-Type":            "text/html; charset=utf-8",
			"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
			"Referrer-Policy":         "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	})
}

// The links in mails open accounts: who is neither at the machine nor an administrator sees none.
func TestTheMailboxIsForWhoIsAtTheMachineAndForAdministrators(t *testing.T) {
	elsewhere := map[string]func(r *http.Request){
		"behind a proxy":               func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") },
		"behind another proxy":         func(r *http.Request) { r.Header.Set("Forwarded", "for=192.0.2.1") },
		"by a tunnel":                  func(r *http.Request) { r.Host = "latchkey.example.com" },
		"by a name led here":           func(r *http.Request) { r.Host = "evil.example:80" },
		"by a name like this one":      func(r *http.Request) { r.Host = "localhost.evil.example" },
		"by a name like an address":    func(r *http.Request) { r.Host = "127.0.0.1.evil.example" },
		"by another address of ours":   func(r *http.Request) { r.Host = "192.0.2.7" },
		"behind one that says nothing": func(r *http.Request) { r.Header["X-Forwarded-For"] = []string{""} },
		"behind a network":             func(r *http.Request) { r.Header.Set("Cdn-Loop", "example") },
	}
	eachWith(t, options{mailbox: sent}, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", user.RoleAdmin)
		s.person(t, "bob@example.com", "editor")
		nobody, bob, ada := s.browser(t), s.browser(t), s.browser(t)
		bob.signIn("bob@example.com")
		ada.signIn("ada@example.com")
		for name, change := range elsewhere {
			for who, b := range map[string]*browser{"nobody": nobody, "bob": bob, "ada": ada} {
				for _, path := range []string{mailboxPath, mailboxPath + "/2", mailboxPath + "/2/html", mailboxPath + "/77", "/app/login"} {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+path, nil)
					if err != nil {
						t.Fatal(err)
					}
					for _, c := range b.client.Jar.Cookies(r.URL) {
						r.AddCookie(c)
					}
					change(r)
					resp, err := s.server.Client().Do(r)
					if err != nil {
						t.Fatal(err)
					}
					data, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil {
						t.Fatal(err)
					}
					body, want := string(data), http.StatusForbidden
					switch {
					case path == "/app/login":
						want = http.StatusOK
					case who == "ada" && path == mailboxPath+"/77":
						want = http.StatusNotFound
					case who == "ada":
						want = http.StatusOK
					}
					if resp.StatusCode != want {
						t.Errorf("%s, %s, %s: %d, want %d", who, name, path, resp.StatusCode, want)
					}
					if who == "ada" {
						continue
					}
					for _, secret := range []string{"token=", "Join", "An older one", mailboxPath} {
						if strings.Contains(body, secret) {
							t.Errorf("%s, %s, %s shows %q:\n%s", who, name, path, secret, body)
						}
					}
				}
			}
		}
		for _, host := range []string{"localhost", "LOCALHOST:9000", "127.0.0.1", "127.1.2.3:80", "[::1]:9000", "[::1]"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+mailboxPath, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			resp, err := s.server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("as %s: %d, want 200", host, resp.StatusCode)
			}
		}
	})
}

// Of a proxy that calls us localhost and says nothing of whom it speaks for, as nginx does by itself, the public URL tells, or that it
// speaks HTTP/1.0.
func TestTheMailboxIsForNobodyBehindAProxyThatSaysNothing(t *testing.T) {
	sites := []struct {
		url, version string
		want         int
	}{
		{"http://localhost:9000", "HTTP/1.1", http.StatusOK},
		{"http://127.0.0.1:9000", "HTTP/1.1", http.StatusOK},
		{"http://[::1]:9000", "HTTP/1.1", http.StatusOK},
		{"http://localhost:9000", "HTTP/1.0", http.StatusForbidden},
		{"https://staging.example.com", "HTTP/1.1", http.StatusForbidden},
		{"http://localhost.example.com", "HTTP/1.1", http.StatusForbidden},
		{"http://192.0.2.7", "HTTP/1.1", http.StatusForbidden},
	}
	for _, at := range sites {
		eachWith(t, options{mailbox: sent, site: web.Options{PublicURL: at.url}}, func(t *testing.T, s *site) {
			for _, path := range []string{mailboxPath, mailboxPath + "/2", mailboxPath + "/2/html"} {
				conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.server.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := fmt.Fprintf(conn, "GET %s %s\r\nHost: localhost:9000\r\nConnection: close\r\n\r\n", path, at.version); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != at.want || at.want != http.StatusOK && strings.Contains(string(body), "token=") {
					t.Errorf("%s at %s by %s: %d, want %d, %v\n%s", path, at.url, at.version, resp.StatusCode, at.want, err, body)
				}
			}
		})
	}
}

func TestThereIsNoMailboxUnlessSomebodyGivesOne(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", user.RoleAdmin)
		b := s.browser(t)
		for range 2 {
			for _, path := range []string{mailboxPath, mailboxPath + "/1", mailboxPath + "/1/html", "/app/dev"} {
				b.get(path)
				b.want(http.StatusNotFound, path, "There is no page at this address.")
			}
			b.get("/app/login")
			b.wantNot("mailbox")
			b.signIn("ada@example.com")
			b.wantNot("mailbox")
		}
	})
}
