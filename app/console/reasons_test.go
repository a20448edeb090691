package console_test

import (
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// untold are the reasons of the API that no page tells by a text reason.REASON, and why not.
var untold = map[string]string{
	"actor_exists":          "no page makes users by a provider's word",
	"create_user_refused":   "no page makes users by a provider's word",
	"callback_url_unknown":  "no page names one; a link that does leads to the text provider_failed",
	"next_not_local":        "no page names one that is not; a link that does leads to the text provider_failed",
	"code_provider_unknown": "no page names one",
	"entity_type_unknown":   "no page names one",
	"media_type":            "pages send JSON to the API",
	"unknown_actor_type":    "pages ask as users",
	"password_missing":      "pages say no_password_typed before they ask",
	"token_invalid":         "pages take the cookie alone",
	"sign_in_to_verify":     "the page asks to sign in",
	"reset_token_invalid":   "the page says reset_link_dead",
	"verification_invalid":  "the page says verify_link_dead",
	"invite_exists":         "said beside the address, by invites.refused.invite_exists",
	"user_exists":           "said beside the address, by invites.refused.user_exists",
	"webhook_exists":        "the page says webhook_sent_already",
	"webhook_changed":       "the page says webhook_rotated_already",
}

// supporters look why somebody cannot sign in, and nothing else.
var supporters = map[string][]string{"support": {"user:explain"}}

// says is how the text begins that a page says of a fault, up to the first that is not words.
func says(f *fault.Error) string {
	data, err := fs.ReadFile(console.Templates(), "texts.html")
	_, text, ok := strings.Cut(string(data), `{{define "reason.`+f.Reason+`"}}`)
	if begins, _, _ := strings.Cut(text, "{"); err == nil && ok {
		begins, _, _ = strings.Cut(begins, "<")
		return begins
	}
	panic("no text of " + f.Reason)
}

// catalogue is every text by its key.
func catalogue(t *testing.T) map[string]string {
	t.Helper()
	data, err := fs.ReadFile(console.Templates(), "texts.html")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\{\{define "([^"]+)"\}\}(.*)\{\{end\}\}$`).FindAllStringSubmatch(string(data), -1) {
		texts[m[1]] = m[2]
	}
	return texts
}

func TestEveryReasonThatAPageMeetsHasAText(t *testing.T) {
	texts := catalogue(t)
	data, err := os.ReadFile("../../docs/http-api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(data), "\n## Reasons\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]+ \\| (.*) \\|$").FindAllStringSubmatch(table, -1)
	if len(rows) < 90 {
		t.Fatalf("%d reasons in docs/http-api.md", len(rows))
	}
	met := map[string]bool{}
	for _, row := range rows {
		reason, when := row[1], row[2]
		met[reason] = true
		_, told := texts["reason."+reason]
		_, listed := untold[reason]
		switch only := strings.HasPrefix(when, "*Go*"); {
		case only && (told || listed):
			t.Errorf("only callers of the Go API meet %s: take it from the catalogue, or from the list of those that no page tells", reason)
		case only:
		case told && listed:
			t.Errorf("%s has a text: take it from the list of those that no page tells", reason)
		case !told && !listed:
			t.Errorf("the catalogue has no text reason.%s, and nothing says why no page needs it", reason)
		}
	}
	for reason := range untold {
		if !met[reason] {
			t.Errorf("%s is no reason of the API any more", reason)
		}
	}
}

// A page says nothing of its own in Go: what it refuses is a reason, and the text of that is in the catalogue.
func TestPagesRefuseInNoWordsOfTheirOwn(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	own := regexp.MustCompile(`fault\.New\([^)\n]*"\)|\.(?:Msg|About)\("[^\n]*`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range own.FindAllString(string(data), -1) {
			t.Errorf("%s: %s: use says(kind, reason), and put the text into texts.html", file, words)
		}
	}
}

// Each rule of the password policy has words of its own, so that none is told in English alone.
func TestEveryRuleOfPasswordsHasAText(t *testing.T) {
	texts := catalogue(t)
	details := regexp.MustCompile(`ErrPassword\.About\("(\w+)"`)
	found := 0
	for _, file := range []string{"policy.go", "breach.go"} {
		data, err := os.ReadFile("../../modules/auth/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range details.FindAllStringSubmatch(string(data), -1) {
			if found++; texts["reason.password_refused."+m[1]] == "" {
				t.Errorf("the catalogue has no text reason.password_refused.%s", m[1])
			}
		}
	}
	if found < 7 {
		t.Errorf("%d rules", found)
	}
}

// What the API advises names routes; what pages advise names pages and buttons.
func TestEveryCodeOfAdviceHasItsTexts(t *testing.T) {
	texts := catalogue(t)
	if len(link.Advised()) < 70 {
		t.Fatalf("%d codes", len(link.Advised()))
	}
	route := regexp.MustCompile(`\b(GET|POST|DELETE) |/(admin|auth)/|/health|\bserver user -`)
	for _, code := range link.Advised() {
		for _, which := range []string{"what", "person", "operator"} {
			key := "advice." + code + "." + which
			text, ok := texts[key]
			switch {
			case !ok || text == "" && which != "operator": // who looks may have nothing to do
				t.Errorf("the catalogue has no text %s", key)
			case route.MatchString(regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllString(text, "")):
				t.Errorf("%s names a route or a command line: %s", key, text)
			}
		}
	}
	for key := range texts {
		code, of := strings.CutPrefix(key, "advice.")
		code, _, sentence := strings.Cut(code, ".")
		if of && sentence && !slices.Contains(link.Advised(), code) {
			t.Errorf("nothing advises %s", key)
		}
	}
}

// The pages say what is refused by the catalogue alone, so that a translation of it is one of all.
func TestATranslationReachesWhatTheAPIRefusesAndAdvises(t *testing.T) {
	own := fstest.MapFS{"texts.html": {Data: []byte(`{{define "reason.password_refused.too_short"}}Zu kurz: mindestens {{minPassword}} Zeichen.{{end}}` +
		`{{define "reason.user_invalid.last_name"}}Der Nachname ist zu lang.{{end}}` +
		`{{define "reason.insufficient_permissions"}}Es fehlt {{.Detail}}.{{end}}` +
		`{{define "advice.unknown.what"}}Niemand kennt diese Adresse.{{end}}` +
		`{{define "advice.seats_full.what"}}Eine eigene.{{end}}`)}}
	eachWith(t, options{pages: console.Options{Templates: own}, api: httpapi.Options{Roles: supporters}}, func(t *testing.T, s *site) {
		s.person(t, "root@example.com", "admin")
		s.person(t, "sue@example.com", "support")
		b := s.browser(t)
		b.signIn("root@example.com")
		b.get("/app/account/password")
		b.submit("/app/account/password", fields("current_password", password, "new_password", "short"))
		b.want(http.StatusBadRequest, "/app/account/password", "Zu kurz: mindestens 8 Zeichen.")
		b.get("/app/account")
		b.submit("/app/account", fields("first_name", "Root", "last_name", strings.Repeat("x", 1025)))
		b.want(http.StatusBadRequest, "/app/account", "Der Nachname ist zu lang.", `aria-invalid="true"`)
		b.get("/app/users/explain?email=nobody@example.com")
		b.want(http.StatusOK, "/app/users/explain", "Niemand kennt diese Adresse.", `<a href="/app/invites/new">invite their address</a>`)
		b.wantNot("server user", "link.unlinked_ttl")
		support := s.browser(t)
		support.signIn("sue@example.com")
		support.get("/app/health")
		support.want(http.StatusForbidden, "/app/health", "Es fehlt health:read.")
	})
}

// Advice leads to where it is followed, as far as the visitor may go there.
func TestAdviceLeadsToThePageOnWhichItIsFollowed(t *testing.T) {
	eachWith(t, options{api: httpapi.Options{Roles: supporters}}, func(t *testing.T, s *site) {
		s.person(t, "root@example.com", "admin")
		s.person(t, "sue@example.com", "support")
		ada := s.person(t, "ada@example.com")
		if _, err := s.users.CreateUsers(t.Context(), user.Draft{Email: "bare@example.com"}); err != nil { // with nothing to sign in by
			t.Fatal(err)
		}
		b := s.browser(t)
		b.signIn("root@example.com")
		b.post("/app/users/"+string(ada.ID)+"/deactivate", fields())
		b.get("/app/users/explain?email=ada@example.com")
		b.want(http.StatusOK, "/app/users/explain", `use “Reactivate” on <a href="/app/users/`+string(ada.ID)+`">the page of the user</a>.`)
		b.wantNot("POST /admin")

		// A sign-in of one address that leads to an account of another is told with that account.
		if err := s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_user").Set("email = ?", "countess@example.com").Where("id = ?", ada.ID).Exec(ctx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		b.get("/app/users/explain?email=ada@example.com")
		b.want(http.StatusOK, "/app/users/explain", "leads to an account with another address", `<a href="/app/users/`+string(ada.ID)+`">the page of the user</a> to see who it is.`)

		support := s.browser(t)
		support.signIn("sue@example.com")
		support.get("/app/users/explain?email=ada@example.com")
		support.want(http.StatusOK, "/app/users/explain", "the page of the user")
		support.wantNot(`href="/app/users/` + string(ada.ID))

		// What all are led to, too.
		for address, to := range map[string][2]string{
			"nobody@example.com": {`<a href="/app/invites/new">invite their address</a>`, "invite their address"},
			"sue@example.com":    {`<a href="/app/audit?outcome=refused">the audit log</a>`, "the audit log"},
			"bare@example.com":   {`<a href="/app/health">mails leave</a>`, "Make sure that mails leave"},
		} {
			b.get("/app/users/explain?email=" + address)
			b.want(http.StatusOK, "/app/users/explain", to[0])
			support.get("/app/users/explain?email=" + address)
			support.want(http.StatusOK, "/app/users/explain", to[1])
			support.wantNot(`href="/app/invites`, `href="/app/audit`, `href="/app/health`)
		}
	})
}

// A user's sessions are told in the same words to them and to administrators; what the browser calls itself is there to look up.
func TestAdministratorsReadInWordsWhereSomebodyIsSignedIn(t *testing.T) {
	const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chromium/126.0 Safari/537.36"
	each(t, func(t *testing.T, s *site) {
		s.person(t, "root@example.com", "admin")
		ada := s.person(t, "ada@example.com")
		l, err := s.link.SignIn(t.Context(), link.ActorUser, "emailpass", credentials("ada@example.com"), auth.Client{UserAgent: agent, IP: "203.0.113.7"})
		if err != nil {
			t.Fatal(err)
		}
		b := s.browser(t)
		b.signIn("root@example.com")
		hers := "/app/users/" + string(ada.ID)
		b.get(hers)
		b.want(http.StatusOK, hers, `title="`+agent+`">Chromium on Linux</span>`, `End <span class="unseen">Chromium on Linux</span>`)
		b.get(hers + "/sign-out?session=" + string(l.Session.ID))
		b.want(http.StatusOK, hers+"/sign-out", "Chromium on Linux", "<dd>"+agent+"</dd>")
	})
}
