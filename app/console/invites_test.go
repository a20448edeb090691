package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// staff are roles for the tests.
var staff = httpapi.Roles{
	"support": {"user:read", "invite:*"},
	"reader":  {"invite:read"},
	"inviter": {"invite:create"},
	"auditor": {"audit:read"},
	"guest":   {},
}

// eachStaffed runs f on a site with staff, for a browser in which an admin is signed in.
func eachStaffed(t *testing.T, f func(t *testing.T, s *site, b *browser)) {
	t.Helper()
	eachWith(t, options{api: httpapi.Options{Roles: staff}}, func(t *testing.T, s *site) {
		s.person(t, "root@example.com", "admin")
		f(t, s, s.as(t, "root@example.com"))
	})
}

// as is a browser in which somebody is signed in.
func (s *site) as(t *testing.T, email string) *browser {
	t.Helper()
	b := s.browser(t)
	b.signIn(email)
	b.want(http.StatusOK, "/app")
	return b
}

// expireInvite has an invite expired for an hour.
func (s *site) expireInvite(t *testing.T, i user.Invite) {
	t.Helper()
	if err := s.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Conn(ctx).NewUpdate().TableExpr("latchkey_invite").Set("expires_at = ?", database.Now().Add(-time.Hour)).Where("id = ?", i.ID).Exec(ctx)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func (s *site) openInvites(t *testing.T) int {
	t.Helper()
	_, n, err := s.users.ListAndCountInvites(t.Context(), user.InviteFilter{}, user.Page{Limit: user.CountOnly})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// texts are the texts in an element of every row, by what is around them.
func (b *browser) all(pattern string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(b.page.body, -1) {
		found = append(found, m[1])
	}
	return found
}

func (b *browser) wantRows(emails ...string) {
	b.t.Helper()
	if got := b.all(`<th scope="row"[^>]*><a href="/app/invites/[^"]*">([^<]*)</a>`); strings.Join(got, " ") != strings.Join(emails, " ") {
		b.t.Errorf("%s shows %q, want %q", b.page.path, got, emails)
	}
}

// inviteLink is the link to an invite that the page shows, as a path.
func (b *browser) inviteLink() string {
	b.t.Helper()
	links := b.all(`<code id="link[^"]*"[^>]*>` + regexp.QuoteMeta(b.site.server.URL) + `(/app/invite\?token=[^<]*)</code>`)
	if len(links) != 1 {
		b.t.Fatalf("the page shows the links %q, want one:\n%s", links, b.page.body)
	}
	return b.site.secret(links[0])
}

func TestInvitesAreListedByTheirState(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		b.get("/app/invites")
		b.want(http.StatusOK, "/app/invites", "No invite is open", `href="/app/invites/new"`, `aria-current="page">Invites`)
		pending, _ := s.invite(t, "pending@example.com", "member")
		expired, _ := s.invite(t, "expired@example.com", "member")
		accepted, link := s.invite(t, "accepted@example.com", "guest")
		revoked, _ := s.invite(t, "revoked@example.com", "member")
		s.expireInvite(t, expired)
		other := s.browser(t)
		other.get(link)
		other.submit("/app/invite", fields("password", password))
		if err := s.users.SoftDeleteInvites(t.Context(), revoked.ID); err != nil {
			t.Fatal(err)
		}
		b.get("/app/invites")
		b.wantRows("expired@example.com", "pending@example.com")
		b.want(http.StatusOK, "/app/invites", "expires", "in 1 day", "expired", "1 hour ago")
		for state, i := range map[string]user.Invite{"pending": pending, "expired": expired, "accepted": accepted, "revoked": revoked} {
			b.get("/app/invites?state=" + state)
			b.wantRows(i.Email)
			b.want(http.StatusOK, "/app/invites", `<option value="`+state+`" selected>`)
			b.get("/app/invites/" + string(i.ID))
			b.want(http.StatusOK, "/app/invites/"+string(i.ID), "Invite to "+i.Email, strings.ToUpper(state[:1])+state[1:]+"</span>")
		}
		b.get("/app/invites/" + string(accepted.ID))
		b.want(http.StatusOK, "/app/invites/"+string(accepted.ID), `href="/app/users/`+string(s.user(t, "accepted@example.com").ID)+`"`)
		b.wantNot("/revoke", "/resend", "token=")
		b.get("/app/invites?q=pend")
		b.wantRows("pending@example.com")
		b.want(http.StatusOK, "/app/invites", `value="pend"`)
		b.get("/app/invites?q=nobody")
		b.want(http.StatusOK, "/app/invites", "No invite found")
		b.get("/app/invites?q=" + strings.Repeat("x", 2000))
		b.want(http.StatusBadRequest, "/app/invites", strings.Repeat("x", 2000), `aria-invalid="true"`)
		b.get("/app/invites?state=nonsense&order=metadata&after=nonsense")
		b.want(http.StatusOK, "/app/invites")
		b.wantRows("expired@example.com", "pending@example.com")
		for _, id := range []string{"invite_01ARZ3NDEKTSV4RRFFQ69G5FAV", "none", "..%2Fusers"} {
			b.get("/app/invites/" + id)
			if b.page.status != http.StatusNotFound {
				t.Errorf("%s: %d", id, b.page.status)
			}
		}
		b.do(http.MethodHead, "/app/invites", "", nil)
		b.want(http.StatusOK, "/app/invites")
	})
}

func TestInvitesAreSortedAndReadPageByPage(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		for i := range 60 {
			s.invite(t, fmt.Sprintf("%02d@example.com", (i*7)%60), "member")
		}
		for order, first := range map[string]string{"": "53", "email": "00", "-email": "59", "created_at": "00", "-created_at": "53"} {
			seen := map[string]bool{}
			b.get("/app/invites?q=example&order=" + order)
			for pages := 1; ; pages++ {
				rows := b.all(`<th scope="row"[^>]*><a href="/app/invites/[^"]*">([^<]*)@example.com</a>`)
				if pages == 1 && rows[0] != first {
					t.Errorf("by %q the first is %s, want %s", order, rows[0], first)
				}
				for _, r := range rows {
					seen[r] = true
				}
				next := b.all(`href="(/app/invites\?[^"]*)" rel="next"`)
				if len(next) == 0 {
					if pages != 3 || len(seen) != 60 || len(b.all(`href="(/app/invites\?[^"]*)">First page`)) != 1 {
						t.Errorf("by %q: %d on %d pages", order, len(seen), pages)
					}
					break
				}
				b.get(strings.ReplaceAll(next[0], "&amp;", "&"))
				b.want(http.StatusOK, "/app/invites")
			}
		}
		b.get("/app/invites?order=email")
		b.want(http.StatusOK, "/app/invites", `aria-sort="ascending"><a href="/app/invites?order=-email"`, `<input type="hidden" name="order" value="email">`)
	})
}

func TestOnePersonIsInvited(t *testing.T) {
	eachWith(t, options{site: web.Options{PublicURL: "http://id.example.com"}}, func(t *testing.T, s *site) {
		s.person(t, "root@example.com", "admin")
		b := s.as(t, "root@example.com")
		b.get("/app/invites/new")
		b.want(http.StatusOK, "/app/invites/new", "Invite people", `value="admin" checked`, "1 day")
		f := b.form("/app/invites/new").values
		f["emails"], f["roles"], f["message"] = []string{"Grace Hopper <Grace@Example.com>"}, []string{"member"}, []string{"Welcome.\r\nAda"}
		f["expires_in"] = []string{"3600"}
		b.header.Set("Origin", s.server.URL)
		b.submit("/app/invites/new", f)
		i := s.inviteTo(t, "grace@example.com")
		b.want(http.StatusOK, "/app/invites/"+string(i.ID), "<strong>grace@example.com</strong> is invited.", "Welcome.\nAda", "member", "in 1 hour",
			"http://id.example.com/app/invite?token=", "does not show that the mailbox is theirs")
		if len(i.Roles) != 1 || i.Roles[0] != "member" {
			t.Errorf("%+v", i)
		}
	})
}

// inviteTo is the open invite to an address.
func (s *site) inviteTo(t *testing.T, email string) user.Invite {
	t.Helper()
	found, err := s.users.ListInvites(t.Context(), user.InviteFilter{Emails: []string{email}}, user.Page{})
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %+v, %v, want one invite", email, found, err)
	}
	return found[0]
}

func TestManyPeopleAreInvitedAndEveryLineIsAnswered(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		s.invite(t, "before@example.com", "member")
		if _, err := s.link.CreateUser(t.Context(), "emailpass", credentials("user@example.com"), user.Draft{Email: "user@example.com", Via: user.ViaCLI}); err != nil {
			t.Fatal(err)
		}
		b.get("/app/invites/new")
		f := b.form("/app/invites/new").values
		f["roles"], f["message"], f["expires_in"] = []string{"member", "guest"}, []string{"Hello <b>you</b>"}, []string{"259200"}
		f["emails"] = []string{"Ada <ada@example.com>, grace@example.com\r\nnon<i>sense\r\nbefore@example.com; user@example.com; GRACE@example.com"}
		for round, made := range []int{2, 0} { // the second is the same form once more, as a reload sends it
			b.submit("/app/invites/new", f)
			b.want([]int{200, 400}[round], "/app/invites/new", "What became of the invites", "was not invited", "non&lt;i&gt;sense</textarea>", "Hello &lt;b&gt;you&lt;/b&gt;</textarea>",
				`value="guest" checked`, `value="259200" selected`, "This is not an e-mail address.", "This person has an account already.", `aria-invalid="true"`)
			b.wantNot("<i>", "<b>you", `value="admin" checked`)
			if invited, links := strings.Count(b.page.body, `good">Invited<`), b.all(`(token=[^<]+)</code>`); invited != made || len(links) != 3 {
				t.Errorf("round %d: %d invited, %d links:\n%s", round, invited, len(links), b.page.body)
			}
			if n := s.openInvites(t); n != 3 {
				t.Errorf("%d invites, want 3", n)
			}
		}
		b.submit("/app/invites/new", fields("emails", "sense@example.com\nbefore@example.com"))
		b.want(http.StatusOK, "/app/invites/new", "sense@example.com", "Invited already", "Invite more people")
		b.wantNot("<textarea")
		if i := s.inviteTo(t, "sense@example.com"); strings.Join(i.Roles, " ") != "guest" && strings.Join(i.Roles, " ") != "member" || i.Message != "Hello <b>you</b>" {
			t.Errorf("%+v", i)
		}
	})
}

func TestWhatIsWrongWithAnInviteIsSaidWhereItIs(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		many := make([]string, 1001)
		for i := range many {
			many[i] = fmt.Sprintf("%d@x.org", i)
		}
		for _, c := range []struct {
			field, value, says, marks string
			status                    int
		}{
			{"emails", " ,;\n", "Enter at least one e-mail address.", `<textarea id="emails" name="emails" rows="5" required aria-describedby="problem emails-hint" aria-invalid="true" autofocus>`, 400},
			{"emails", "nonsense", "This was not sent.", `<textarea id="emails" name="emails" rows="5" required aria-describedby="problem emails-hint" aria-invalid="true" autofocus>`, 400},
			{"emails", strings.Join(many, "\n"), "At most 1,000", `aria-invalid="true"`, 400},
			{"roles", "", "Choose at least one role.", `<fieldset aria-describedby="problem roles-hint">`, 400},
			{"roles", "unheard-of", "", "", 200}, // an admin can give what the configuration does not know
			{"expires_in", "7", "Choose how long the invite is open.", `<select id="expires_in" name="expires_in" aria-describedby="problem" aria-invalid="true" autofocus>`, 400},
			{"message", strings.Repeat("x", 501), "message must be plain text", `<textarea id="message" name="message" rows="5" aria-describedby="problem message-hint" aria-invalid="true" autofocus>`, 400},
		} {
			b.get("/app/invites/new")
			f := b.form("/app/invites/new").values
			f["emails"], f["message"], f["roles"] = []string{"kept@example.com"}, []string{"kept text"}, []string{"guest"}
			if f[c.field] = []string{c.value}; c.field == "roles" && c.value == "" {
				f["roles"] = nil
			}
			b.submit("/app/invites/new", f)
			if b.page.status != c.status {
				t.Errorf("%s: %d\n%s", c.field, b.page.status, b.page.body)
			}
			if c.status != 200 {
				b.want(c.status, "/app/invites/new", c.says, c.marks)
				for field, kept := range map[string]string{"emails": "kept@example.com</textarea>", "message": "kept text</textarea>", "roles": `value="guest" checked`} {
					if field != c.field {
						b.want(c.status, "/app/invites/new", kept)
					}
				}
			}
		}
		long := strings.Repeat("x", 60)
		for n, list := range map[int]string{2000: "", 1000: ""} { // too many, and as many as may be, which are too long together
			for i := range n {
				list += fmt.Sprintf("%d%s@example.com\n", i, long)
			}
			b.get("/app/invites/new")
			b.submit("/app/invites/new", fields("emails", list, "message", "kept text"))
			b.want(http.StatusBadRequest, "/app/invites/new", "Send the list in parts.", "kept text</textarea>")
			if got := b.form("/app/invites/new").values.Get("emails"); got != list {
				t.Errorf("%d addresses: of %d bytes %d are kept", n, len(list), len(got))
			}
		}
		b.get("/app/invites/new")
		b.submit("/app/invites/new", fields("emails", strings.Repeat("x@example.com\n", 20_000)))
		b.want(http.StatusRequestEntityTooLarge, "/app/invites/new", "at most 1,000 addresses", "Go back in your browser")
		if n := s.openInvites(t); n != 1 {
			t.Errorf("%d invites, want 1", n)
		}
	})
}

func TestAnInviteIsSentAgainRevokedAndMadeAgain(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		i, old := s.invite(t, "grace@example.com", "guest")
		s.invite(t, "other@example.com", "member")
		if _, err := s.users.UpdateInvites(t.Context(), user.InviteUpdate{ID: i.ID, Message: user.Set("Welcome.")}); err != nil {
			t.Fatal(err)
		}
		b.get("/app/invites?q=grace&order=email")
		if first := b.inviteLink(); first != old {
			t.Errorf("the list shows %s, want %s", first, old)
		}
		b.submit("/app/invites/"+string(i.ID)+"/resend", nil)
		b.want(http.StatusOK, "/app/invites", "was sent again", `value="grace"`, `name="order" value="email"`)
		fresh := b.inviteLink()
		stranger := s.browser(t)
		stranger.get(old)
		stranger.want(http.StatusBadRequest, "/app/invite", says(user.ErrInviteRenewed))
		stranger.get(fresh)
		stranger.want(http.StatusOK, "/app/invite", "grace@example.com")

		b.get("/app/invites/" + string(i.ID))
		b.submit("/app/invites/"+string(i.ID)+"/resend", nil)
		b.want(http.StatusOK, "/app/invites/"+string(i.ID), "was sent again")
		b.get("/app/invites?q=grace")
		stale := b.page
		b.submit("/app/invites/"+string(i.ID)+"/revoke", nil)
		b.want(http.StatusOK, "/app/invites", "The invite to <strong>grace@example.com</strong> is revoked", `href="/app/invites/new?again=`+string(i.ID)+`"`, "No invite found")
		stranger.get(fresh)
		stranger.want(http.StatusBadRequest, "/app/invite")
		b.page = stale // sent once more
		b.submit("/app/invites/"+string(i.ID)+"/revoke", nil)
		b.want(http.StatusOK, "/app/invites", "is revoked")
		b.page = stale
		b.submit("/app/invites/"+string(i.ID)+"/resend", nil)
		b.want(http.StatusConflict, "/app/invites/"+string(i.ID)+"/resend", "was revoked meanwhile", "Revoked</span>", "Invite again")

		b.get("/app/invites/new?again=" + string(i.ID))
		b.want(http.StatusOK, "/app/invites/new", "grace@example.com</textarea>", "Welcome.</textarea>", `value="guest" checked`)
		b.wantNot(`value="member" checked`, `value="admin" checked`)
		b.submit("/app/invites/new", nil)
		b.want(http.StatusOK, "/app/invites/"+string(s.inviteTo(t, "grace@example.com").ID), "is invited.", "Welcome.")
		stranger.get(b.inviteLink())
		stranger.submit("/app/invite", fields("password", password))
		stranger.want(http.StatusOK, "/app")
		if u := s.user(t, "grace@example.com"); strings.Join(u.Roles, " ") != "guest" || !u.EmailVerifiedAt.IsZero() {
			t.Errorf("%+v: want a guest whose address is not proved", u)
		}
	})
}

// Whoever was quicker than a page is left as they are.
func TestAnInviteThatWasAcceptedMeanwhileIsLeft(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		i, link := s.invite(t, "grace@example.com", "member")
		b.get("/app/invites")
		stale := b.page
		stranger := s.browser(t)
		stranger.get(link)
		stranger.submit("/app/invite", fields("password", password))
		for _, act := range []string{"resend", "revoke"} {
			b.page = stale
			b.submit("/app/invites/"+string(i.ID)+"/"+act, nil)
			b.want(http.StatusConflict, "/app/invites/"+string(i.ID)+"/"+act, "was accepted meanwhile", "Accepted</span>", "Open the user")
		}
		if kept, err := s.users.RetrieveInvite(t.Context(), i.ID); err != nil || !kept.Accepted {
			t.Errorf("%+v, %v", kept, err)
		}
	})
}

// What the API would refuse, the pages do not offer; what is tried all the same, they refuse with its words.
func TestInvitesAreForWhoMay(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, admin *browser) {
		beyond, _ := s.invite(t, "boss@example.com", "admin")
		below, _ := s.invite(t, "grace@example.com", "member")
		for _, role := range []string{"support", "reader", "inviter", "guest"} {
			s.person(t, role+"@example.com", role)
		}
		admin.get("/app/invites")
		forms := admin.page

		guest := s.as(t, "guest@example.com")
		guest.wantNot(`href="/app/invites"`)
		for _, path := range []string{"/app/invites", "/app/invites/new", "/app/invites/" + string(below.ID)} {
			guest.get(path)
			guest.want(http.StatusForbidden, path)
			guest.wantNot("grace@example.com", "token=")
		}

		reader := s.as(t, "reader@example.com")
		reader.get("/app/invites")
		reader.want(http.StatusOK, "/app/invites")
		reader.wantRows("grace@example.com", "boss@example.com")
		reader.wantNot("/resend", "/revoke", "token=", "/app/invites/new", "?again=")
		reader.get("/app/invites/" + string(below.ID))
		reader.wantNot("/resend", "/revoke", "token=")

		support := s.as(t, "support@example.com")
		support.get("/app/invites")
		support.want(http.StatusOK, "/app/invites", string(below.ID)+"/resend", string(below.ID)+"/revoke", "link-"+string(below.ID))
		support.wantNot(string(beyond.ID)+"/resend", string(beyond.ID)+"/revoke", "link-"+string(beyond.ID))
		support.get("/app/invites/new")
		support.want(http.StatusOK, "/app/invites/new", `value="member" checked`) // of the default, admin, they can give nothing
		support.wantNot(`value="admin"`, `value="auditor"`)
		support.submit("/app/invites/new", url.Values{"emails": {"x@example.com"}, "roles": {"admin"}})
		support.want(http.StatusForbidden, "/app/invites/new", "may do more than you", "x@example.com</textarea>")

		inviter := s.as(t, "inviter@example.com")
		inviter.wantNot(`href="/app/invites"`)
		inviter.get("/app/invites/new")
		inviter.submit("/app/invites/new", fields("emails", "new@example.com"))
		inviter.want(http.StatusOK, "/app/invites/new", "new@example.com", "Invited", "Roles: member,") // as what, whoever sends a list is shown at once

		for name, b := range map[string]*browser{"guest": guest, "reader": reader, "support": support, "inviter": inviter} {
			for _, act := range []string{"resend", "revoke"} {
				b.page = forms
				b.submit("/app/invites/"+string(beyond.ID)+"/"+act, nil)
				if b.page.status != http.StatusForbidden {
					t.Errorf("%s, %s: %d", name, act, b.page.status)
				}
			}
		}
		guest.page = reader.page
		admin.get("/app/invites/new")
		guest.page = admin.page
		guest.submit("/app/invites/new", fields("emails", "guests@example.com"))
		guest.want(http.StatusForbidden, "/app/invites/new")
		if n := s.openInvites(t); n != 3 {
			t.Errorf("%d invites, want 3", n)
		}
		for _, i := range []user.Invite{beyond, below} {
			if got, err := s.users.RetrieveInvite(t.Context(), i.ID); err != nil || !got.IssuedAt.Equal(i.IssuedAt) {
				t.Errorf("%+v, %v: want %+v", got, err, i)
			}
		}
	})
}

// Who is signed out, or whose session has died, sees and changes nothing.
func TestInvitesAreForWhoIsSignedIn(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		i, _ := s.invite(t, "grace@example.com", "member")
		b.get("/app/invites")
		list := b.page
		b.get("/app/invites/new")
		form := b.page
		if _, _, err := s.auth.EndEverySession(t.Context()); err != nil {
			t.Fatal(err)
		}
		for act, p := range map[string]page{"/app/invites/" + string(i.ID) + "/resend": list, "/app/invites/" + string(i.ID) + "/revoke": list, "/app/invites/new": form} {
			b.page = p
			values := url.Values{}
			if act == "/app/invites/new" {
				values = fields("emails", "x@example.com")
			}
			b.submit(act, values)
			if act == "/app/invites/new" {
				b.want(http.StatusUnauthorized, act, "Nothing was done", `value="x@example.com"`)
			} else {
				b.want(http.StatusOK, "/app/login")
			}
		}
		for _, path := range []string{"/app/invites", "/app/invites/new", "/app/invites/" + string(i.ID)} {
			b.get(path)
			b.want(http.StatusOK, "/app/login")
			b.wantNot("grace@example.com")
		}
		if got, err := s.users.RetrieveInvite(t.Context(), i.ID); err != nil || !got.IssuedAt.Equal(i.IssuedAt) || s.openInvites(t) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// Whatever somebody has typed is text, and leads nowhere else.
func TestWhatIsInInvitesIsText(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		const evil = `"><script>alert(1)</script><i/x='`
		made, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "grace@example.com", Roles: []string{evil}, Message: evil + "\n" + evil})
		if err != nil {
			t.Fatal(err)
		}
		path := "/app/invites/" + string(made[0].ID)
		asked := url.QueryEscape(evil)
		for _, at := range []string{"/app/invites", "/app/invites?q=" + asked, "/app/invites?state=" + asked + "&order=" + asked + "&after=" + asked, "/app/invites?revoked=" + asked,
			path, "/app/invites/new?again=" + string(made[0].ID), "/app/invites/new?again=" + asked, "/app/audit?action=" + asked, "/app/audit?actor_id=" + asked + "&ip=" + asked + "&from=" + asked + "&request_id=" + asked, "/app/audit/" + url.PathEscape(evil)} {
			b.get(at)
			b.wantNot("<script>alert", "<i/x=")
		}
		b.get("/app/invites/new")
		b.submit("/app/invites/new", url.Values{"emails": {evil + "\nalan@example.com"}, "roles": {evil}, "message": {evil}})
		b.wantNot("<script>alert", "<i/x=")
		for _, back := range []string{"q=" + asked + "&evil=1", "//evil.example.com", "after=x&revoked=y", "%zz", evil} {
			b.get(path)
			b.do(http.MethodPost, path+"/resend", form, strings.NewReader(url.Values{"from": {"list"}, "back": {back}}.Encode()))
			b.want(http.StatusOK, "/app/invites")
			b.wantNot("<script>alert", "<i/x=")
		}
	})
}

// A form that is sent once more, by a reload or by going back, invites nobody whose invite has ended meanwhile, unless they ask.
func TestAFormSentAgainInvitesNobodyWhoseInviteHasEnded(t *testing.T) {
	eachStaffed(t, func(t *testing.T, s *site, b *browser) {
		b.get("/app/invites/new")
		f := b.form("/app/invites/new").values
		f["emails"], f["roles"] = []string{"revoked@example.com\naccepted@example.com\nopen@example.com"}, []string{"guest"}
		b.submit("/app/invites/new", f)
		b.want(http.StatusOK, "/app/invites/new", "Invite more people")
		revoked := s.inviteTo(t, "revoked@example.com")
		if err := s.users.SoftDeleteInvites(t.Context(), revoked.ID); err != nil {
			t.Fatal(err)
		}
		stranger := s.browser(t)
		stranger.get(s.path(s.inviteTo(t, "accepted@example.com")))
		stranger.submit("/app/invite", fields("password", password))
		stranger.want(http.StatusOK, "/app")

		for range 2 {
			b.get("/app/invites/new")
			b.submit("/app/invites/new", f)
			b.want(http.StatusBadRequest, "/app/invites/new", "was accepted since", "was revoked since", "Invited already", "revoked@example.com</textarea>")
			if n := s.openInvites(t); n != 1 {
				t.Errorf("%d invites are open, want 1", n)
			}
		}
		b.submit("/app/invites/new", nil)
		b.want(http.StatusOK, "/app/invites/"+string(s.inviteTo(t, "revoked@example.com").ID), "is invited.")
	})
}
