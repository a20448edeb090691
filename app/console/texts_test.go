package console_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"

	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/link"
)

// Where keys of texts are made of what is only known when a page is shown.
var computedTexts = []string{
	"reason.",  // of a problem
	"waiting.", // of a sign-in that led to no account
	"advice.",  // of why somebody cannot sign in
	"flash.", "label.", "hint.",
	"webhooks.delete_title", "webhooks.disable_title", "webhooks.rotate_title", // what is asked
}

var (
	commentsIn     = regexp.MustCompile(`(?s)\{\{-?\s*/\*.*?\*/\s*-?\}\}|<!--.*?-->`)
	actionsIn      = regexp.MustCompile("(?s)\\{\\{(?:[^\"`}]|\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`|\\}[^}])*\\}\\}")
	tagsIn         = regexp.MustCompile(`<(/?[a-z!][^\s>]*)((?:[^>"]|"[^"]*")*)>`)
	wordsFor       = regexp.MustCompile(`\s(aria-label|aria-description|aria-roledescription|placeholder|alt|title|label|content|data-[a-z-]+)="([^"]*)"`)
	entitiesIn     = regexp.MustCompile(`&#?\w+;`)
	spokenAction   = regexp.MustCompile("^\\{\\{-?\\s*(?:print(?:f|ln)?\\s+|html\\s+)?[\"`]") // {{"some words"}}
	onlyAttributes = regexp.MustCompile(`^(\s*[a-z-]+="[^"]*")+(\s+[a-z]+)?\s*$`)             // of a part that is put into tags
	definedText    = regexp.MustCompile(`\{\{-?\s*define "([^"]+)"`)
	usedTemplate   = regexp.MustCompile(`\{\{-?\s*template "([^"]+)"`)
	usedText       = regexp.MustCompile(`\(?\btext(?:Or)? (?:\(print )?"([^"]+)"`)
	textKey        = regexp.MustCompile(`"([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+)"`)
	fieldsIn       = regexp.MustCompile(`template "field" \(\.Field "([a-z_]+)"([^)]*)\)`)
)

// pageSources are the templates but for the catalogue, by name.
func pageSources(t *testing.T) map[string]string {
	t.Helper()
	names, err := fs.Glob(console.Templates(), "*.html")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d templates, %v", len(names), err)
	}
	all := map[string]string{}
	for _, name := range names {
		data, err := fs.ReadFile(console.Templates(), name)
		if err != nil {
			t.Fatal(err)
		}
		if name != "texts.html" {
			all[name] = string(data)
		}
	}
	return all
}

// literalWords are the words that a template says by itself.
func literalWords(source string) (found []string) {
	spoken := func(s string) {
		if s = strings.TrimSpace(entitiesIn.ReplaceAllString(s, "")); strings.ContainsFunc(s, unicode.IsLetter) {
			found = append(found, s)
		}
	}
	source = commentsIn.ReplaceAllString(source, "")
	for _, action := range actionsIn.FindAllString(source, -1) {
		if spokenAction.MatchString(action) {
			found = append(found, action)
		}
	}
	source = actionsIn.ReplaceAllString(source, "")
	for _, tag := range tagsIn.FindAllStringSubmatch(source, -1) {
		for _, a := range wordsFor.FindAllStringSubmatch(tag[2], -1) {
			switch {
			case a[1] == "content" && tag[1] == "meta": // for programs
			case strings.HasPrefix(a[1], "data-") && !strings.Contains(a[2], " "): // the name of something
			default:
				spoken(a[2])
			}
		}
	}
	for between := range strings.SplitSeq(tagsIn.ReplaceAllString(source, "\x00"), "\x00") {
		if !onlyAttributes.MatchString(between) {
			spoken(between)
		}
	}
	return found
}

func TestPagesHoldNoWordsOfTheirOwn(t *testing.T) {
	for name, source := range pageSources(t) {
		for _, words := range literalWords(source) {
			t.Errorf("%s says %q: put it into texts.html", name, words)
		}
	}
}

// The test above finds what it is there to find.
func TestWordsInPagesAreFound(t *testing.T) {
	for source, want := range map[string]string{
		`<p>Hello</p>`: "Hello",
		`<p>{{if .X}}Hello{{else}}{{template "x"}}{{end}}</p>`: "Hello",
		`<input aria-label="Name">`:                            "Name",
		`<img alt='' title="A {{.Kind}}">`:                     "A",
		`<button{{if .A}} placeholder="type"{{end}}>`:          "type",
		`{{"Hello"}}`:              `{{"Hello"}}`,
		"{{print `Hello ` .Name}}": "{{print `Hello ` .Name}}",
		`<p class="a > b">{{.Name}}</p>, {{.Other}} – &nbsp;&#8594; 12`:             "",
		`{{/* a word */}}<label for="email">{{text (print "a." .B)}}</label>`:       "",
		`<a href="{{path "/users"}}" data-copy="link">{{template "users.x" .}}</a>`: "",
	} {
		if got := strings.Join(literalWords(source), ", "); got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

func TestEveryTextThatIsUsedIsThereAndEveryTextThatIsThereIsUsed(t *testing.T) {
	catalogue, err := fs.ReadFile(console.Templates(), "texts.html")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{} // whether it is used
	pieces := map[string]bool{}
	for _, m := range definedText.FindAllStringSubmatch(string(catalogue), -1) {
		if _, twice := texts[m[1]]; twice {
			t.Errorf("texts.html has %s twice: the last one counts", m[1])
		}
		texts[m[1]] = false
		piece, _, _ := strings.Cut(m[1], ".")
		pieces[piece] = true
	}
	use := func(where, key string) {
		if _, ok := texts[key]; !ok {
			t.Errorf("%s uses the text %s, which is not there", where, key)
			return
		}
		texts[key] = true
	}

	sources := pageSources(t)
	parts := map[string]bool{}
	for _, source := range sources {
		for _, m := range definedText.FindAllStringSubmatch(source, -1) {
			parts[m[1]] = true
		}
	}
	sources["texts.html"] = string(catalogue)
	for name, source := range sources {
		for _, m := range usedTemplate.FindAllStringSubmatch(source, -1) {
			if !parts[m[1]] {
				use(name, m[1])
			}
		}
		for _, m := range usedText.FindAllStringSubmatch(source, -1) {
			switch key := m[1]; {
			case !strings.HasSuffix(key, "."):
				use(name, key)
			case slices.Contains(computedTexts, key):
			default: // print "users.state." .State: there is one at least
				any := false
				for text := range texts {
					if strings.HasPrefix(text, key) {
						texts[text], any = true, true
					}
				}
				if !any {
					t.Errorf("%s uses texts %s…, and there is none", name, key)
				}
			}
		}
		for _, m := range fieldsIn.FindAllStringSubmatch(source, -1) {
			label := m[1]
			if _, other, ok := strings.Cut(m[2], `"label:`); ok {
				label, _, _ = strings.Cut(other, `"`)
			}
			use(name, "label."+label)
			if strings.Contains(m[2], `"hint"`) {
				use(name, "hint."+m[1])
			}
		}
	}

	code, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	says := regexp.MustCompile(`\bsays\(fault\.\w+, "(\w+)"\)`)
	done := regexp.MustCompile(`\.done\((?:w, )?[^"\n]*(?:"/[^"]*"[^",\n]*)*, "([\w.]+)",`)
	for _, file := range code {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source := string(data)
		for _, m := range says.FindAllStringSubmatch(source, -1) {
			use(file, "reason."+m[1])
		}
		for _, m := range done.FindAllStringSubmatch(source, -1) {
			use(file, "flash."+m[1])
		}
		for _, m := range textKey.FindAllStringSubmatch(source, -1) {
			piece, rest, _ := strings.Cut(m[1], ".")
			_, said := texts["flash."+m[1]]          // which is looked for above
			_, action := texts["audit.action."+m[1]] // what was done, as the trail has it
			if pieces[piece] && !said && !action && rest != "html" && rest != "css" && rest != "js" {
				use(file, m[1])
			}
		}
	}
	for key, used := range texts {
		computed := slices.ContainsFunc(computedTexts, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
		if !used && !computed {
			t.Errorf("no page uses the text %s", key)
		}
	}
}

// An application's own texts count before ours, which stand in for those that it does not have.
func TestAnApplicationChangesSomeTextsAlone(t *testing.T) {
	own := fstest.MapFS{"texts.html": {Data: []byte(`{{define "login.title"}}Anmelden{{end}}{{define "lang"}}en{{end}}` +
		`{{define "reason.invalid_credentials"}}Passt nicht &amp; zwar <em>gar</em> nicht.{{end}}{{define "waiting.not_linked.next"}}Warten.{{end}}`)}}
	eachWith(t, options{pages: console.Options{Templates: own}, policy: link.Manual{}}, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		b := s.browser(t)
		b.get("/app/login")
		b.want(http.StatusOK, "/app/login", "<h1>Anmelden</h1>", "Forgot your password?")
		b.submit("/app/login", fields("email", "ada@example.com", "password", "not "+password))
		b.want(http.StatusUnauthorized, "/app/login", "Passt nicht &amp; zwar <em>gar</em> nicht.")
		b.signIn("ada@example.com")
		b.want(http.StatusOK, "/app/login", link.WaitManual.Message, "Warten.")
		b.wantNot(link.WaitManual.Next)
	})
}
