package httpapi_test

import (
	"context"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

var localParts = regexp.MustCompile(`"email":"([^@"]*)@`)

// listedIn is the names before the @ of who is in an answer, in order; or the answer, if it is none.
func listedIn(a answer) string {
	if a.status != 200 {
		return a.body
	}
	var names []string
	for _, m := range localParts.FindAllStringSubmatch(a.body, -1) {
		names = append(names, m[1])
	}
	return strings.Join(names, " ")
}

// wantListed sends queries, in which {name} stands for a value, and compares who is listed, in the order of addresses.
func (s *server) wantListed(t *testing.T, path, token string, values map[string]string, queries map[string]string) {
	t.Helper()
	for query, want := range queries {
		filled := query
		for name, v := range values {
			filled = strings.ReplaceAll(filled, "{"+name+"}", url.QueryEscape(v))
		}
		a := s.do(t, "GET", path+"?fields=email&order=email&"+filled, "", bearer(token))
		if got := listedIn(a); got != want || a.get("count") != fmt.Sprint(len(strings.Fields(want))) {
			t.Errorf("?%s: %q of %s, want %q", query, got, a.get("count"), want)
		}
	}
}

// put sets when a row was made, so that tests know it to the microsecond.
func (s *server) put(t *testing.T, table, column, id string, at time.Time) {
	t.Helper()
	check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_"+table).Set(column+" = ?", at).Where("id = ?", id).Exec(ctx)
		return err
	}))
}

func TestListsOfUsersAreFilteredByTimes(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "zoe@example.com")
		values := map[string]string{}
		for i, at := range []string{
			"2020-01-31T12:00:00.000000Z", "2020-01-31T12:00:00.000999Z", "2020-01-31T12:00:00.001000Z", "2020-01-31T12:00:00.120000Z", "2020-02-01T00:00:00.000000Z",
		} {
			email := string(rune('a'+i)) + "@example.com"
			made, err := s.users.CreateUsers(t.Context(), user.Draft{Email: email})
			check(t, err)
			moment, err := time.Parse(time.RFC3339Nano, at)
			check(t, err)
			s.put(t, "user", "created_at", string(made[0].ID), moment)
			s.put(t, "user", "updated_at", string(made[0].ID), moment)
			a := s.do(t, "GET", "/admin/users/"+string(made[0].ID), "", bearer(admin))
			values[email[:1]] = a.get("user", "created_at") // as answers print it
		}
		s.wantListed(t, "/admin/users", admin, values, map[string]string{
			"": "a b c d e zoe",
			// What an answer printed finds that row, and those of the same millisecond.
			"created_at={a}": "a b", "created_at={b}": "a b", "created_at={c}": "c", "created_at[$eq]={d}": "d", "created_at.$eq={e}": "e", "updated_at={c}": "c",
			"created_at[$in][0]={c}&created_at[$in][1]={e}": "c e", "created_at[$in][]={c}&created_at[$in][]={a}": "a b c", "created_at[$in]={d}": "d", "created_at.$in.0={d}": "d",
			"created_at[$ne]={a}": "c d e zoe", "created_at[$nin][]={a}&created_at[$nin][]={d}": "c e zoe", "created_at[$ne]={a}&created_at[$nin][]={c}": "d e zoe",
			"created_at[$gt]={a}": "c d e zoe", "created_at[$gte]={a}": "a b c d e zoe", "created_at[$lt]={c}": "a b", "created_at[$lte]={c}": "a b c", "created_at[$lte]={b}": "a b",
			"created_at[$gt]={a}&created_at[$lt]={e}": "c d", "created_at[$gte]={c}&created_at[$gt]={c}": "d e zoe", "created_at[$lt]={c}&created_at[$lte]={e}": "a b",
			"created_at={c}&created_at[$ne]={c}": "", "created_at={c}&created_at[$eq]={d}": "", "created_at[$gt]={e}&created_at[$lt]={a}": "", "created_at={c}&updated_at={d}": "",
			// More digits are more precise.
			"created_at=2020-01-31T12:00:00.000999Z": "b", "created_at=2020-01-31T12:00:00.0009990Z": "b", "created_at=2020-01-31T12:00:00.000999001Z": "", "created_at=2020-01-31T12:00:00.000000Z": "a",
			"created_at[$gt]=2020-01-31T12:00:00.0000Z": "b c d e zoe", "created_at[$lte]=2020-01-31T12:00:00.000998999Z": "a", "created_at[$ne]=2020-01-31T12:00:00.000999Z": "a c d e zoe",
			// Fewer are no less: the beginning of what is named.
			"created_at=2020-01-31T12:00:00.12Z": "d", "created_at=2020-01-31T12:00:00Z": "a b", "created_at=2020-01-31T12:00Z": "a b", "created_at=2020-02-01": "e",
			"created_at[$gte]=2020-02-01": "e zoe", "created_at[$lt]=2020-02-01": "a b c d", "created_at[$gte]=2020-01-31&created_at[$lt]=2020-02-01": "a b c d",
			"created_at=2020-01-31T13:00:00%2B01:00": "a b", "created_at=2020-01-31T03:30:00.001-08:30": "c", "created_at=2020-02-01T14:00%2B14:00": "e",
			"created_at[$gte]=0001-01-01": "a b c d e zoe", "created_at[$lt]=0001-01-01": "", "created_at[$gt]=9999-12-31T23:59:59.999Z": "", "created_at[$lte]=9999-12-31T23:59:59.9999999Z": "a b c d e zoe",
			"created_at[$lt]=0001-01-01T00:00:00Z&created_at[$gt]=9999-12-31": "", "deleted_at[$gte]=0001-01-01": "", "deleted_at[$ne]=2020-01-31": "",
		})
	})
}

func TestListsAreFilteredByAndAndOr(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "zoe@example.com")
		values := map[string]string{}
		for name, draft := range map[string]user.Draft{
			"ada": {FirstName: new("Ada"), LastName: new("Lovelace")}, "bob": {FirstName: new("Bob"), LastName: new("Ada Smith")}, "eve": {FirstName: new("Eve")},
		} {
			draft.Email = name + "@example.com"
			made, err := s.users.CreateUsers(t.Context(), draft)
			check(t, err)
			invites, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: draft.Email})
			check(t, err)
			values[name], values["invite of "+name] = string(made[0].ID), string(invites[0].ID)
			s.put(t, "invite", "expires_at", string(invites[0].ID), time.Date(2030+int(name[0]-'a'), 1, 1, 0, 0, 0, 0, time.UTC))
		}
		s.wantListed(t, "/admin/users", admin, values, map[string]string{
			"$or[0][email]=ada@example.com&$or[1][email]=BOB@example.com":                   "ada bob",
			"%24or%5B0%5D%5Bemail%5D=ada@example.com&%24or%5B1%5D%5Bid%5D={eve}":            "ada eve", // as qs writes it
			"$or.0.email=ada@example.com&$or.1.id.0={eve}&$or.1.id.1={bob}":                 "ada bob eve",
			"$or[7][email]=ada@example.com&$or[3][email]=eve@example.com":                   "ada eve",
			"$or[0][email]=ada@example.com":                                                 "ada",
			"$or[0][email]=ada@example.com&$or[0][first_name]=Bob":                          "", // both of one member
			"q=ada&$or[0][first_name]=Bob&$or[1][first_name]=Eve":                           "bob",
			"$and[0][q]=ada&$and[1][q]=smith":                                               "bob",
			"$and[0][q]=ada&$and[1][q]=smith&$and[2][last_name]=Lovelace":                   "",
			"$or[0][$and][0][q]=ada&$or[0][$and][1][q]=smith&$or[1][email]=eve@example.com": "bob eve",
			"$and[0][$or][0][id]={ada}&$and[0][$or][1][id]={eve}&$and[1][q]=lovelace":       "ada",
			"$or[0][$or][0][$or][0][$or][0][$or][0][id]={ada}":                              "ada",
			"$or[0][created_at][$gt]=2100-01-01&$or[1][id][]={bob}&$or[1][id][]={eve}":      "bob eve",
			"$or[0][created_at][$gt]=2020-01-01&$or[0][created_at][$lt]=2021-01-01":         "",
			"$or[0][created_at][$nin][0]=2020-01-01&$or[0][email]=ada@example.com":          "ada",
			"$or[0][deleted_at][$gt]=2020-01-01&$or[1][email]=eve@example.com":              "eve",
			"$and[0][email]=ada@example.com&$or[0][email]=eve@example.com&limit=1":          "",
		})
		s.wantListed(t, "/admin/invites", admin, values, map[string]string{
			"": "ada bob eve", "id={invite of ada}": "ada", "id[0]={invite of ada}&id[1]={invite of eve}": "ada eve", "email[0]=ada@example.com&email[1]=bob@example.com": "ada bob",
			"$or[0][email]=ada@example.com&$or[1][email]=bob@example.com":                    "ada bob",
			"$or[0][email][0]=ada@example.com&$or[0][email][1]=bob@example.com&$or[1][q]=VE": "ada bob eve",
			"$or[0][expires_at][$lt]=2031-01-01&$or[1][expires_at][$gte]=2034-01-01":         "ada eve",
			"$and[0][q]=example&$and[1][expires_at][$gt]=2030-01-01":                         "bob eve",
			"expires_at=2031-01-01": "bob", "expires_at[$ne]=2031-01-01T00:00:00.000Z": "ada eve", "updated_at[$lt]=2020-01-01": "", "created_at[$gte]=2020-01-01&accepted=false": "ada bob eve",
			"deleted_at[$gte]=2020-01-01": "", "accepted=true&$or[0][email]=ada@example.com": "",
		})
	})
}

func TestListsOfUsersAreFilteredByRoles(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "zoe@example.com")
		for name, roles := range map[string][]string{"ada": {"admin", "editor"}, "bob": {"editor"}, "dan": {"a"}, "eve": nil} {
			_, err := s.users.CreateUsers(t.Context(), user.Draft{Email: name + "@example.com", Roles: roles})
			check(t, err)
		}
		s.wantListed(t, "/admin/users", admin, nil, map[string]string{
			"roles=admin": "ada zoe", "roles[]=editor": "ada bob", "roles[]=editor&roles[]=admin": "ada bob zoe", "roles[0]=editor&roles[1]=nobodys": "ada bob",
			"roles=editor&roles=a": "ada bob dan", "roles.0=a": "dan", "roles=nobodys": "", "roles=": "", "roles=Admin": "", "roles=admin,editor": "", "roles=%25": "",
			"roles=editor&q=bob": "bob", "$or[0][roles]=admin&$or[1][email]=eve@example.com": "ada eve zoe", "$and[0][roles]=admin&$and[1][roles]=editor": "ada",
			"roles='+OR+''%3D'": "",
		})
	})
}

func TestListsShowTheDeletedToWhomAsks(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "zoe@example.com")
		users, err := s.users.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com"}, user.Draft{Email: "gone@example.com"})
		check(t, err)
		invites, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com"}, user.InviteDraft{Email: "gone@example.com"})
		check(t, err)
		check(t, s.users.SoftDeleteUsers(t.Context(), users[1].ID))
		check(t, s.users.SoftDeleteInvites(t.Context(), invites[1].ID))
		for path, others := range map[string]string{"/admin/users": " zoe", "/admin/invites": ""} {
			a := s.do(t, "GET", path+"?with_deleted=true&q=gone", "", bearer(admin))
			at := regexp.MustCompile(`"deleted_at":"([^"]+)"`).FindStringSubmatch(a.body)
			if at == nil {
				t.Fatalf("%s: %d %s, want one deleted", path, a.status, a.body)
			}
			s.wantListed(t, path, admin, map[string]string{"at": at[1]}, map[string]string{
				"": "ada" + others, "with_deleted=false": "ada" + others, "with_deleted=": "ada" + others, "with_deleted=true": "ada gone" + others,
				"with_deleted=true&deleted_at={at}": "gone", "with_deleted=true&deleted_at[$in][]={at}": "gone", "with_deleted=true&deleted_at[$gte]=2020-01-01": "gone",
				"with_deleted=true&deleted_at[$gt]={at}": "", "with_deleted=true&deleted_at[$lte]={at}": "gone", "with_deleted=true&deleted_at[$ne]={at}": "", "deleted_at={at}": "",
				"with_deleted=true&$or[0][deleted_at]={at}&$or[1][email]=ada@example.com": "ada gone", "$or[0][deleted_at]={at}&$or[1][email]=ada@example.com": "ada",
			})
		}
	})
}

func TestBadFiltersAreNamed(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		repeat := func(format string, n int) string {
			var parts []string
			for i := range n {
				parts = append(parts, fmt.Sprintf(format, i))
			}
			return strings.Join(parts, "&")
		}
		long := strings.Repeat("x", 1025)
		for _, path := range []string{"/admin/users", "/admin/invites"} {
			for query, says := range map[string]string{
				"q=a+b+c+d+e+f+g+h+i+j+k":                              "q may have at most 10 words",
				"$or[0][q]=a+b+c+d+e+f&$or[1][q]=g+h+i+j+k":            "q may have at most 10 words",
				"created_at[$nonsense]=2020-01-01":                     "Unrecognized operator 'created_at[$nonsense]': use $eq, $ne, $in, $nin, $gt, $gte, $lt or $lte",
				"created_at[gte]=2020-01-01":                           "Unrecognized operator 'created_at[gte]'",
				"created_at[]=2020-01-01":                              "Unrecognized operator 'created_at[]'",
				"updated_at.$GT=2020-01-01":                            "Unrecognized operator 'updated_at[$GT]'",
				"created_at[$not][$gt]=2020-01-01":                     "Unrecognized operator 'created_at[$not][$gt]'",
				"created_at[$like]=2020%25":                            "'created_at[$like]' compares text, not times: use $eq",
				"created_at[$ilike]=2020%25":                           "'created_at[$ilike]' compares text",
				"deleted_at[$re]=x":                                    "'deleted_at[$re]' compares text",
				"deleted_at[$contains]=x":                              "'deleted_at[$contains]' compares text",
				"created_at=nonsense":                                  "'created_at' must be a time such as 2026-01-31, 2026-01-31T12:00:00.000Z or 2026-01-31T12:00:00+01:00, with + written as %2B",
				"created_at=":                                          "'created_at' must be a time",
				"created_at[$gte]=2020-02-30":                          "'created_at[$gte]' must be a time",
				"created_at[$gt]=2020-01-01T00:00:00":                  "'created_at[$gt]' must be a time", // where?
				"created_at[$lt]=2020-01-01T25:00Z":                    "'created_at[$lt]' must be a time",
				"created_at[$lte]=1580472000000":                       "'created_at[$lte]' must be a time",
				"created_at=2020-01-01T00:00:00+01:00":                 "'created_at' must be a time", // the + is a space
				"created_at=2020-01-01T00:00:00.0000000000Z":           "'created_at' must be a time",
				"created_at=10000-01-01":                               "'created_at' must be a time",
				"created_at=9999-12-31T23:59:59-01:00":                 "'created_at' must be a time",
				"created_at=0000-12-31":                                "'created_at' must be a time",
				"created_at=0001-01-01T00:00:00%2B01:00":               "'created_at' must be a time",
				"created_at[$in][0]=2020-01-01&created_at[$in][1]=x":   "'created_at[$in]' must be a time",
				"created_at[$in][x]=2020-01-01":                        "Unrecognized fields: 'created_at[$in][x]'",
				"created_at[$eq][0]=2020-01-01":                        "Unrecognized fields: 'created_at[$eq][0]'",
				"created_at=2020-01-01&created_at=2021-01-01":          "created_at must be given once",
				"created_at[$gt]=2020-01-01&created_at.$gt=2021-01-01": "created_at[$gt] must be given once",
				"id[$ne]=x":                           "Unrecognized fields: 'id[$ne]'",
				"id[10000]=x":                         "Unrecognized fields: 'id[10000]'",
				"with_deleted=1":                      "Expected type: 'boolean' for field 'with_deleted', got: 'string'",
				"with_deleted=true&with_deleted=true": "with_deleted must be given once",
				"with_deleted[$eq]=true":              "Unrecognized fields: 'with_deleted[$eq]'",
				"$or[0][nonsense]=x":                  "Unrecognized fields: '$or[0][nonsense]'",
				"$or[0][nonsense]=x&$or[0][more]=y":   "Unrecognized fields: '$or[0][nonsense]', '$or[0][more]'",
				"$or[0][limit]=1":                     "Unrecognized fields: '$or[0][limit]'",
				"$or[0][with_deleted]=true":           "Unrecognized fields: '$or[0][with_deleted]'",
				"$or[0][accepted]=true":               "Unrecognized fields: '$or[0][accepted]'",
				"$or[0][$not][email]=x":               "Unrecognized fields: '$or[0][$not][email]'",
				"$or[0][created_at][$x]=2020-01-01":   "Unrecognized operator '$or[0][created_at][$x]'",
				"$and[0][created_at]=x":               "'$and[0][created_at]' must be a time",
				"$or[0][q]=a&$or[0][q]=b":             "$or[0][q] must be given once",
				"$or=x":                               "'$or' must be a list of conditions with numbers: $or[0][email]=a&$or[1][email]=b",
				"$or[]=x":                             "'$or' must be a list",
				"$or[0]=x":                            "'$or' must be a list",
				"$or[][email]=x":                      "'$or' must be a list",
				"$or[email]=x":                        "'$or' must be a list",
				"$or[00][email]=x":                    "'$or' must be a list",
				"$and[-1][email]=x":                   "'$and' must be a list",
				"$OR[0][email]=x":                     "Unrecognized fields: '$OR[0][email]'",
				"$nor[0][email]=x":                    "Unrecognized fields: '$nor[0][email]'",
				"metadata[x]=1":                       "Unrecognized fields: 'metadata[x]'",
				"created_at[=2020-01-01":              "Unrecognized fields: 'created_at['",
				"created_at]$gt[=2020-01-01":          "Unrecognized fields: 'created_at]$gt['",
				"[created_at]=2020-01-01":             "Unrecognized fields: '[created_at]'",
				"created_at[[$gt]]=2020-01-01":        "Unrecognized fields: 'created_at[[$gt]]'",
				"=x":                                  "Unrecognized fields: ''",
				"$or[0][$or][0][$or][0][$or][0][$or][0][$or][0][q]=x":                    "$and and $or may stand at most 5 levels within each other",
				strings.Repeat("$or[0]", 1) + strings.Repeat("[$and][0]", 900) + "[q]=x": "$and and $or may stand at most 5 levels within each other",
				"id" + strings.Repeat("[]", 5000) + "=x":                                 "goes too deep",
				repeat("id[]=%d", 1001):                                                  "there may be at most 1000 parameters",
				repeat("created_at[$in][%d]=2020-01-01", 101):                            "a filter may have at most 100 conditions",
				repeat("$or[%d][q]=x", 101):                                              "a filter may have at most 100 conditions",
				"q=" + long:                                                              "'q' must be at most 1024 bytes",
				"id=" + long:                                                             "'id' must be at most 1024 bytes",
				"$or[0][email]=" + long:                                                  "'$or[0][email]' must be at most 1024 bytes",
				"$or[0][q]=" + long[:600] + "&$or[1][q]=" + long[:600]:                   "q must be text of at most 1024 bytes",
				"$or[0][q]=%00":                                                          "the query string is not well-formed text",
			} {
				a := s.do(t, "GET", path+"?"+query, "", bearer(admin))
				if a.status != 400 || a.get("type") != "invalid_data" || !strings.Contains(a.get("message"), says) || !strings.HasPrefix(a.get("message"), "Invalid request: ") {
					t.Errorf("%s?%.100s: %d %s\nwant 400 with %s", path, query, a.status, a.body, says)
				}
			}
			for _, query := range []string{repeat("id[]=%d", 990), repeat("$or[%d][email]=a@b.example", 50)} {
				if a := s.do(t, "GET", path+"?"+query, "", bearer(admin)); a.status != 200 {
					t.Errorf("%s?%.100s: %d %s, want 200", path, query, a.status, a.body)
				}
			}
		}
		for do, says := range map[string]string{
			"/admin/users?expires_at=2020-01-01": "Unrecognized fields: 'expires_at'", "/admin/users?$or[0][email][]=x": "Unrecognized fields: '$or[0][email][]'", "/admin/users?accepted=true": "Unrecognized fields: 'accepted'",
			"/admin/invites?$or[0][first_name]=x": "Unrecognized fields: '$or[0][first_name]'", "/admin/invites?last_name=x": "Unrecognized fields: 'last_name'", "/admin/invites?roles=admin": "Unrecognized fields: 'roles'",
			"/admin/users?roles[$in]=admin": "Unrecognized fields: 'roles[$in]'", "/admin/users?roles[0][x]=admin": "Unrecognized fields: 'roles[0][x]'", "/admin/users?$or[0][after]=x": "Unrecognized fields: '$or[0][after]'", "/admin/invites?accepted[$eq]=true": "Unrecognized fields: 'accepted[$eq]'",
		} {
			if a := s.do(t, "GET", do, "", bearer(admin)); a.status != 400 || strings.Split(a.get("message"), "; use ")[0] != "Invalid request: "+says {
				t.Errorf("%s: %d %s, want %s", do, a.status, a.body, says)
			}
		}
	})
}

// encode writes a filter as a client would, so that reading it gives the same.
func encode(f user.Filter, at string) (pairs []string) {
	add := func(name, value string) { pairs = append(pairs, url.QueryEscape(name)+"="+url.QueryEscape(value)) }
	name := func(n string) string {
		if at == "" {
			return n
		}
		return at + "[" + n + "]"
	}
	if f.Q != "" || at != "" { // a member is there even if it asks for nothing
		add(name("q"), f.Q)
	}
	for _, id := range f.IDs {
		add(name("id")+"[]", string(id))
	}
	for _, e := range f.Emails {
		add(name("email"), e)
	}
	for n, v := range map[string]*string{"first_name": f.FirstName, "last_name": f.LastName} {
		if v != nil {
			add(name(n), *v)
		}
	}
	const nanoseconds = "2006-01-02T15:04:05.000000000Z"
	first := func(t time.Time) time.Time { // the first time there is stands for no time, and so is read as the one before
		if t.Year() < 1 {
			return time.Time{}
		}
		return t
	}
	span := func(s user.Span) string {
		s.From = first(s.From)
		switch s.Until.Sub(s.From) {
		case time.Millisecond:
			return s.From.Format("2006-01-02T15:04:05.999Z")
		case time.Microsecond:
			return s.From.Format("2006-01-02T15:04:05.000000Z")
		default:
			return s.From.Format(nanoseconds)
		}
	}
	for n, t := range map[string]user.Times{"created_at": f.CreatedAt, "updated_at": f.UpdatedAt, "deleted_at": f.DeletedAt} {
		if !t.From.IsZero() {
			add(name(n)+"[$gte]", first(t.From).Format(nanoseconds))
		}
		if !t.Until.IsZero() {
			add(name(n)+"[$lte]", t.Until.Add(-1).Format(nanoseconds))
		}
		for _, s := range t.In {
			add(name(n)+"[$in][]", span(s))
		}
		for _, s := range t.NotIn {
			add(name(n)+"[$nin][]", span(s))
		}
	}
	for n, members := range map[string][]user.Filter{"$and": f.And, "$or": f.Or} {
		for i, m := range members {
			pairs = append(pairs, encode(m, fmt.Sprintf("%s[%d]", name(n), i))...)
		}
	}
	return pairs
}

func FuzzReadFilter(f *testing.F) {
	for _, seed := range []string{
		"", "q=a&limit=1&offset=2&order=-id&fields=%2Broles", "id=a&id[]=b&id[0]=c", "email=a@example.com&first_name=A&last_name=", "created_at=2020-01-31",
		"created_at[$gte]=2020-01-31T12:00:00.123Z&created_at.$lt=2020-01-31T12:00:00.123456789Z", "updated_at[$in][]=2020-01-31T12:00:00Z&updated_at[$nin]=2020-01-31T12:00Z",
		"deleted_at[$ne]=2020-01-31T12:00:00.1234%2B14:00&deleted_at[$gt]=0001-01-01&deleted_at[$lte]=9999-12-31T23:59:59.999Z", "deleted_at[$eq]=0001-01-01T00:00:00.000000001Z",
		"$or[0][email]=a&$or[1][$and][0][q]=b&$or[1][$and][1][created_at][$in][0]=2020-01-31", "%24or%5B3%5D%5Bid%5D%5B0%5D=a&$or.1.id=b", "$or[0][$or][0][$or][0][$or][0][$or][0][$or][0][q]=x",
		"created_at[$like]=a", "$or[]=a", "a[b", "a]b[", "[]", ".", "..=", "a.=", "=", "&&", "%", "%00", "+", "id[", "$or[0]=&$or[0][q]=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		filter, err := httpapi.ReadUserFilter(raw)
		if err != nil {
			if known, ok := fault.Of(err); !ok || known.Kind != fault.Invalid || !strings.HasPrefix(known.Message, "Invalid request: ") || len(known.Message) > 1024 {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		if n := strings.Count(raw, "=") + strings.Count(raw, "&") + 1; len(filter.IDs)+len(filter.And)+len(filter.Or) > n {
			t.Fatalf("%q: %+v has more than was sent", raw, filter)
		}
		again := strings.Join(encode(filter, ""), "&")
		same, err := httpapi.ReadUserFilter(again)
		if err != nil || !reflect.DeepEqual(same, filter) {
			t.Fatalf("%q\n is %+v;\nas %q\n it is %+v, %v", raw, filter, again, same, err)
		}
	})
}
