package console_test

import (
	"context"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// record writes events into the trail.
func (s *site) record(t *testing.T, by audit.Actor, entries ...audit.Entry) {
	t.Helper()
	keys, err := keyring.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	trail, err := audit.New(audit.Params{DB: s.db, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := trail.Record(audit.WithActor(t.Context(), by), entries...); err != nil {
		t.Fatal(err)
	}
}

// forgetTrail empties the trail.
func (s *site) forgetTrail(t *testing.T) {
	t.Helper()
	if err := s.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Conn(ctx).NewRaw("DELETE FROM latchkey_audit_event").Exec(ctx)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// events are the actions of the page, as it words them.
func (b *browser) events() []string {
	return b.all(`<th scope="row"[^>]*><a href="/app/audit/[^"]*">(?:<code>)?([^<]*)<`)
}

func (b *browser) wantEvents(want ...string) {
	b.t.Helper()
	if got := b.events(); strings.Join(got, "|") != strings.Join(want, "|") {
		b.t.Errorf("%s shows %q, want %q\n%s", b.page.path, got, want, b.page.body)
	}
}

// Every action that there is by itself, all topics of events among them, has its words, and the filter offers it; and nothing else.
func TestActionsOfTheTrailHaveWords(t *testing.T) {
	texts, err := fs.ReadFile(console.Templates(), "texts.html")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, m := range regexp.MustCompile(`\{\{define "audit\.action\.([^"]+)"\}\}`).FindAllStringSubmatch(string(texts), -1) {
		told = append(told, m[1])
	}
	document, err := os.ReadFile("../../docs/security/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	known := webhook.Topics()
	for _, m := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(string(document), -1) {
		for _, name := range regexp.MustCompile("`([a-z_.-]+)`").FindAllStringSubmatch(m[1], -1) {
			if strings.Contains(name[1], ".") || slices.Contains([]string{"access", "explain", "purge"}, name[1]) {
				known = append(known, name[1])
			}
		}
	}
	for _, action := range known {
		if !slices.Contains(told, action) {
			t.Errorf("the catalogue has no words for %s", action)
		}
	}
	each(t, func(t *testing.T, s *site) {
		s.person(t, "root@example.com", "admin")
		b := s.as(t, "root@example.com")
		b.get("/app/audit")
		offered := b.all(`<option value="([a-z_.-]+\.[a-z_.-]+|access|explain|purge)">`)
		slices.Sort(offered)
		slices.Sort(told)
		if !slices.Equal(offered, told) {
			t.Errorf("the filter offers %q, the catalogue tells %q", offered, told)
		}
	})
}

func TestTheTrailIsFilteredAndRead(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		grace := s.person(t, "grace@example.com", "guest")
		gone := s.person(t, "gone@example.com", "guest")
		if err := s.users.SoftDeleteUsers(t.Context(), gone.ID); err != nil {
			t.Fatal(err)
		}
		i, _ := s.invite(t, "invited@example.com", "guest")
		s.forgetTrail(t)
		b.get("/app/audit")
		b.want(http.StatusOK, "/app/audit", "Nothing is recorded yet", `aria-current="page">Audit log`)
		ofGrace := audit.Actor{Type: "user", ID: string(grace.ID), IdentityID: "authid_1", SessionID: "authsess_1", IP: "203.0.113.7", UserAgent: "Agent <b>1</b>", RequestID: "request-1"}
		s.record(t, ofGrace, audit.Entry{Action: "user.deleted", TargetType: "user", TargetID: string(gone.ID)},
			audit.Entry{Action: "invite.resent", TargetType: "invite", TargetID: string(i.ID)},
			audit.Entry{Action: "art.painted", TargetType: "picture", TargetID: "picture_1", Details: map[string]any{"colour": "<i>red</i>", "size": 12, "nothing": nil}})
		s.record(t, audit.Actor{Type: audit.Anonymous, IP: "2001:db8::1"}, audit.Entry{Action: "auth.sign_in", Outcome: audit.Refused, Reason: "invalid_credentials", TargetType: "address", TargetID: "address_1"})
		s.record(t, audit.Actor{Type: "pilot", ID: "pilot_1"}, audit.Entry{Action: "purge"})

		b.get("/app/audit")
		b.wantEvents("Purge what is dead", "Sign in", "art.painted", "Send an invite again", "Delete a user")
		b.want(http.StatusOK, "/app/audit", `href="/app/users/`+string(grace.ID)+`">grace@example.com`, `href="/app/users/`+string(gone.ID)+`">gone@example.com`,
			`href="/app/invites/`+string(i.ID)+`">invited@example.com`, "Somebody not signed in", "pilot", "Refused</span>", "invalid_credentials", "203.0.113.7", "2001:db8::1")
		page := b.page
		for query, want := range map[string]string{
			"action=user.deleted":              "Delete a user",
			"action=art.painted":               "art.painted",
			"action=none":                      "",
			"outcome=refused":                  "Sign in",
			"outcome=nonsense&action=purge":    "Purge what is dead",
			"actor_type=pilot":                 "Purge what is dead",
			"actor_id=grace@example.com":       "art.painted|Send an invite again|Delete a user",
			"actor_id=" + string(grace.ID):     "art.painted|Send an invite again|Delete a user",
			"target_id=+Gone%40Example.com+":   "Delete a user",
			"target_id=" + string(i.ID):        "Send an invite again",
			"ip=2001:DB8:0::1":                 "Sign in",
			"identity_id=authid_1&action=none": "",
			"session_id=authsess_1&action=art.painted&request_id=request-1": "art.painted",
			"from=2020-01-01&to=2100-01-01T12:00&action=purge":              "Purge what is dead",
			"from=2100-01-01":        "",
			"to=2020-01-01T00:00:30": "",
			"action=purge&outcome=&actor_id=&target_id=&ip=&from=&to=&request_id=%20": "Purge what is dead",
		} {
			b.get("/app/audit?" + query)
			b.want(http.StatusOK, "/app/audit")
			if got := strings.Join(b.events(), "|"); got != want {
				t.Errorf("%s shows %q, want %q", query, got, want)
			}
			if want == "" {
				b.want(http.StatusOK, "/app/audit", "No event found")
			}
		}
		b.get("/app/audit?action=art.painted&actor_type=pilot&actor_id=grace@example.com&from=2026-01-31&to=2026-01-31")
		b.want(http.StatusOK, "/app/audit", `<option value="art.painted" selected>`, `<option value="pilot" selected>`, `value="grace@example.com"`, `value="2026-01-31T00:00"`, `value="2026-01-31T23:59"`, "<details open>")

		for query, says := range map[string][2]string{
			"ip=nonsense":                  {"ip", "This is not an IP address."},
			"actor_id=nobody@example.com":  {"actor_id", "No user has this e-mail address."},
			"target_id=nobody@example.com": {"target_id", "No user has this e-mail address."},
			"from=yesterday":               {"from", "This is not a time."},
			"to=2026-02-30":                {"to", "This is not a time."},
		} {
			b.get("/app/audit?outcome=success&" + query)
			b.want(http.StatusBadRequest, "/app/audit", says[1], `<option value="success" selected>`)
			if !regexp.MustCompile(`<input id="` + says[0] + `" [^>]*aria-describedby="problem" aria-invalid="true" autofocus>`).MatchString(b.page.body) {
				t.Errorf("%s: the field is not marked\n%s", query, b.page.body)
			}
			_, value, _ := strings.Cut(query, "=")
			b.want(http.StatusBadRequest, "/app/audit", `value="`+value+`"`)
		}
		b.get("/app/audit?action=" + strings.Repeat("x", 3000))
		b.want(http.StatusBadRequest, "/app/audit")

		b.page = page
		painted := b.all(`href="(/app/audit/audit_[^"]*)"><code>art.painted`)[0]
		b.get(painted)
		b.want(http.StatusOK, painted, "Event art.painted", "Agent &lt;b&gt;1&lt;/b&gt;", "&lt;i&gt;red&lt;/i&gt;", "<dd>12</dd>", "<dd>null</dd>", "picture_1", "request-1", "authid_1", "authsess_1",
			`href="/app/audit?actor_id=`+string(grace.ID)+`"`, `href="/app/audit?request_id=request-1"`, `href="/app/audit?target_id=picture_1"`, " UTC")
		b.wantNot("<b>1", "<i>red")
		b.page = page
		refused := b.all(`href="(/app/audit/audit_[^"]*)">Sign in`)[0]
		b.get(refused)
		b.want(http.StatusOK, refused, "<h1>Sign in</h1>", "Refused</span>", "invalid_credentials", `href="/app/audit?ip=2001%3adb8%3a%3a1"`)
		b.do(http.MethodHead, refused, "", nil)
		b.want(http.StatusOK, refused)
		for _, id := range []string{"audit_01ARZ3NDEKTSV4RRFFQ69G5FAV", "none", "..%2Fusers"} {
			b.get("/app/audit/" + id)
			if b.page.status != http.StatusNotFound {
				t.Errorf("%s: %d", id, b.page.status)
			}
		}
	})
}

func TestTheTrailIsReadPageByPage(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		var entries []audit.Entry
		for range 120 {
			entries = append(entries, audit.Entry{Action: "art.painted"})
		}
		s.record(t, audit.Actor{Type: "user", ID: "user_1"}, entries...)
		b.get("/app/audit?action=art.painted")
		seen := map[string]bool{}
		for pages := 1; ; pages++ {
			for _, id := range b.all(`<th scope="row"[^>]*><a href="/app/audit/([^"]*)"`) {
				seen[id] = true
			}
			next := b.all(`href="(/app/audit\?[^"]*)" rel="next"`)
			if len(next) == 0 {
				if pages != 3 || len(seen) != 120 || len(b.all(`href="(/app/audit\?action=art.painted)">First page`)) != 1 {
					t.Errorf("%d on %d pages\n%s", len(seen), pages, b.page.body)
				}
				break
			}
			b.get(strings.ReplaceAll(next[0], "&amp;", "&"))
		}
		b.get("/app/audit?action=art.painted&after=nonsense")
		b.want(http.StatusOK, "/app/audit")
		if n := len(b.events()); n != 50 {
			t.Errorf("%d events, want 50", n)
		}
	})
}

func TestTheTrailIsForWhoMayReadIt(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, root *browser) {
		s.person(t, "auditor@example.com", "auditor")
		s.person(t, "guest@example.com", "guest")
		i, _ := s.invite(t, "invited@example.com", "guest")
		s.record(t, audit.Actor{Type: "user", ID: string(s.user(t, "root@example.com").ID)}, audit.Entry{Action: "invite.resent", TargetType: "invite", TargetID: string(i.ID)})
		root.get("/app/audit?action=invite.resent")
		one := root.all(`href="(/app/audit/audit_[^"]*)"`)[0]

		guest := s.as(t, "guest@example.com")
		guest.wantNot(`href="/app/audit"`)
		for _, path := range []string{"/app/audit", one} {
			guest.get(path)
			guest.want(http.StatusForbidden, path)
			guest.wantNot("Send an invite again", "invited@example.com")
		}
		auditor := s.as(t, "auditor@example.com")
		auditor.want(http.StatusOK, "/app", `href="/app/audit"`)
		for _, path := range []string{"/app/audit?action=invite.resent", one} {
			auditor.get(path)
			auditor.want(http.StatusOK, strings.Split(path, "?")[0], "Send an invite again")
			auditor.wantNot("invited@example.com", "root@example.com", `href="/app/users/`, `href="/app/invites/`)
		}
		auditor.get("/app/audit?actor_id=root@example.com")
		auditor.want(http.StatusBadRequest, "/app/audit", "Give the id")

		stranger := s.browser(t)
		for _, path := range []string{"/app/audit?" + url.Values{"actor_id": {"x"}}.Encode(), one} {
			stranger.get(path)
			stranger.want(http.StatusOK, "/app/login")
		}
	})
}
