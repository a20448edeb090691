package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/user"
)

// follow reads a list by what each answer says comes next, and returns who is on each page.
func (s *server) follow(t *testing.T, token, path string) (pages []string) {
	t.Helper()
	for after := ""; ; {
		a := s.do(t, "GET", path+"&fields=email&after="+after, "", bearer(token))
		var said map[string]any
		check(t, json.Unmarshal([]byte(a.body), &said))
		if _, counted := said["count"]; a.status != 200 || counted || said["offset"] != nil || said["limit"] == nil {
			t.Fatalf("%s&after=%s: %d %s, want a page with a limit, and without count and offset", path, after, a.status, a.body)
		}
		pages = append(pages, listedIn(a))
		next, more := said["next"]
		if !more || len(pages) > 100 {
			return pages
		}
		if after = next.(string); after == "" || url.QueryEscape(after) != after {
			t.Fatalf("%s says that %q comes next, want what a URL takes as it is", path, after)
		}
	}
}

// followBack reads a list from its end by what each answer says came before, and returns who is on each page, in the list's order.
func (s *server) followBack(t *testing.T, token, path string) (pages []string) {
	t.Helper()
	for before := ""; ; {
		a := s.do(t, "GET", path+"&fields=email&before="+before, "", bearer(token))
		var said map[string]any
		check(t, json.Unmarshal([]byte(a.body), &said))
		if _, counted := said["count"]; a.status != 200 || counted || said["offset"] != nil || said["limit"] == nil || (said["next"] == nil) != (before == "") {
			t.Fatalf("%s&before=%s: %d %s, want a page with a limit and what comes next, and without count and offset", path, before, a.status, a.body)
		}
		pages = append([]string{listedIn(a)}, pages...)
		previous, more := said["previous"]
		if !more || len(pages) > 100 {
			return pages
		}
		before = previous.(string)
	}
}

func TestListsAreReadBackwards(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "zoe@example.com")
		for i, name := range []string{"ada", "bob", "dan", "eve"} {
			first := fmt.Sprint("name ", i/2)
			_, err := s.users.CreateUsers(t.Context(), user.Draft{Email: name + "@example.com", FirstName: &first})
			check(t, err)
			_, err = s.users.CreateInvites(t.Context(), user.InviteDraft{Email: name + "@example.com"})
			check(t, err)
		}
		for path, want := range map[string]string{
			"/admin/users?order=email&limit=2":           "ada|bob dan|eve zoe",
			"/admin/users?order=-email&limit=2":          "zoe|eve dan|bob ada",
			"/admin/users?order=email&limit=5":           "ada bob dan eve zoe",
			"/admin/users?order=email&limit=1&q=nobody":  "",
			"/admin/users?limit=4":                       "zoe|ada bob dan eve",
			"/admin/invites?order=email&limit=3":         "ada|bob dan eve",
			"/admin/users?order=email&limit=1&q=dan eve": "",
		} {
			if got := strings.Join(s.followBack(t, admin, strings.ReplaceAll(path, " ", "+")), "|"); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		for _, order := range []string{"id", "-id", "first_name", "-first_name", "last_name", "created_at", "-updated_at", "deleted_at", "-deleted_at"} {
			path := "/admin/users?limit=1&order=" + order
			if got, want := s.followBack(t, admin, path), s.follow(t, admin, path); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("by %s: back %s, forth %s", order, got, want)
			}
		}
		// From any page one comes back to where one was.
		first := s.do(t, "GET", "/admin/users?order=email&limit=2&fields=email&after=", "", bearer(admin))
		second := s.do(t, "GET", "/admin/users?order=email&limit=2&fields=email&after="+first.get("next"), "", bearer(admin))
		again := s.do(t, "GET", "/admin/users?order=email&limit=2&fields=email&before="+second.get("previous"), "", bearer(admin))
		if first.get("previous") != "" || listedIn(again) != listedIn(first) || again.get("next") != first.get("next") || again.get("previous") != "" {
			t.Errorf("back from %s one comes to %s, want %s", second.body, again.body, first.body)
		}
		for query, says := range map[string]string{
			"order=-&before=": "order must be one of", "order=--id&before=": "order must be one of", "order=nope&before=": "order must be one of", "before=&limit=0": "limit must be at least 1",
			"before=&offset=1": "before and offset cannot be given together", "before=nonsense": "after must be", "order=email&limit=2&before=" + first.get("next"): "after must be",
			"order=email&after=" + second.get("previous"): "after must be", "before=" + strings.Repeat("a", 2049): "'before' must be at most 2048 bytes", "before=&before=": "before must be given once",
		} {
			if a := s.do(t, "GET", "/admin/users?"+query, "", bearer(admin)); a.status != 400 || !strings.Contains(a.get("message"), says) {
				t.Errorf("%.80s: %d %s, want 400 with %q", query, a.status, a.body, says)
			}
		}
	})
}

func TestListsAreReadByWhatComesNext(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "zoe@example.com")
		for i, name := range []string{"ada", "bob", "dan", "eve"} {
			first := fmt.Sprint("name ", i/2)
			_, err := s.users.CreateUsers(t.Context(), user.Draft{Email: name + "@example.com", FirstName: &first})
			check(t, err)
			_, err = s.users.CreateInvites(t.Context(), user.InviteDraft{Email: name + "@example.com"})
			check(t, err)
		}
		for path, want := range map[string]string{
			"/admin/users?order=email&limit=2":                             "ada bob|dan eve|zoe",
			"/admin/users?order=-email&limit=2":                            "zoe eve|dan bob|ada",
			"/admin/users?order=email&limit=5":                             "ada bob dan eve zoe",
			"/admin/users?order=email&limit=1000":                          "ada bob dan eve zoe",
			"/admin/users?order=email&limit=1&q=example.com&roles=admin":   "zoe",
			"/admin/users?order=email&limit=1&$or[0][first_name]=name%200": "ada|bob",
			"/admin/users?order=email&limit=1&q=nobody":                    "",
			"/admin/invites?order=email&limit=1":                           "ada|bob|dan|eve",
			"/admin/invites?order=-email&limit=3":                          "eve dan bob|ada",
			"/admin/invites?order=email&limit=4":                           "ada bob dan eve",
			"/admin/invites?order=email&limit=4&accepted=true":             "",
			"/admin/invites?order=email&limit=3&status=pending":            "ada bob dan|eve",
			"/admin/invites?order=email&limit=3&status=expired":            "",
		} {
			if got := strings.Join(s.follow(t, admin, path), "|"); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		for _, order := range []string{"id", "first_name", "-first_name", "last_name", "created_at", "-updated_at", "deleted_at", "-deleted_at"} {
			whole := listedIn(s.do(t, "GET", "/admin/users?fields=email&order="+order, "", bearer(admin)))
			if got := strings.Join(s.follow(t, admin, "/admin/users?limit=1&order="+order), " "); got != whole {
				t.Errorf("by %s: %s, want %s", order, got, whole)
			}
		}
	})
}

func TestAPageBehindWhatIsNoPlaceIsRefused(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "zoe@example.com")
		_, err := s.users.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com"})
		check(t, err)
		next := s.do(t, "GET", "/admin/users?after=&limit=1&order=email", "", bearer(admin)).get("next")
		if next == "" {
			t.Fatal("nothing comes next")
		}
		for query, says := range map[string]string{
			"after=nonsense": "after must be the next of an answer", "after=%00": "not well-formed", "after=' OR ''='": "after must be", "after=" + strings.Repeat("a", 2048): "after must be",
			"after=" + strings.Repeat("a", 2049): "'after' must be at most 2048 bytes",
			"after=" + next:                      "after must be", "order=-email&after=" + next: "after must be", "order=created_at&after=" + next: "after must be", "order=email&after=" + next + "A": "after must be",
			"order=email&offset=1&after=" + next: "after and offset cannot be given together", "order=email&offset=0&after=": "after and offset cannot be given together",
			"after=&limit=0": "limit must be at least 1", "after=&limit=-1": "limit must not be negative", "after=&limit=1001": "limit must be at most 1000", "after=&order=nope": "order must be one of",
			"after=&after=": "after must be given once", "after[]=": "Unrecognized fields: 'after[]'", "after[x]=y": "Unrecognized fields: 'after[x]'", "After=": "Unrecognized fields: 'After'",
		} {
			for _, path := range []string{"/admin/users", "/admin/invites"} {
				a := s.do(t, "GET", path+"?"+strings.ReplaceAll(query, " ", "+"), "", bearer(admin))
				if a.status != 400 || a.get("type") != "invalid_data" || !strings.Contains(a.get("message"), says) {
					t.Errorf("%s?%.80s: %d %s, want 400 with %q", path, query, a.status, a.body, says)
				}
			}
		}
		if a := s.do(t, "GET", "/admin/invites?order=email&after="+next, "", bearer(admin)); a.status != 400 || a.get("reason") != "cursor_invalid" {
			t.Errorf("a place in the list of users is one in that of invites: %d %s", a.status, a.body)
		}
		if a := s.do(t, "GET", "/admin/users?order=email&after="+next, "", bearer(admin)); a.status != 200 || listedIn(a) != "zoe" {
			t.Errorf("behind the first: %d %s, want the second", a.status, a.body)
		}
		if a := s.do(t, "GET", "/admin/users/"+"user_none?after=", "", bearer(admin)); a.status != 400 {
			t.Errorf("one user has a place: %d %s", a.status, a.body)
		}
	})
}
