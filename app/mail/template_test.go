package mail_test

import (
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/modules/user"
)

// files makes a directory of names and texts.
func files(texts ...string) fstest.MapFS {
	dir := fstest.MapFS{}
	for i := 0; i < len(texts); i += 2 {
		dir[texts[i]] = &fstest.MapFile{Data: []byte(texts[i+1])}
	}
	return dir
}

func TestATemplateOfOnesOwnCountsBeforeTheBuiltInOne(t *testing.T) {
	own := files(
		"reset.txt", "{{define \"reset.subject\"}}\n  {{.Site}}:\r\n new password {{end}}Hi {{.To}}, by {{.Until}}:\n{{.URL}}\n",
		"layout.html", "<html><title>{{.Subject}}</title><i>{{template \"content\" .}}</i></html>",
		"..data/reset.txt", "{{of an older version}}", ".reset.txt.swp", "{{",
	)
	eachWith(t, mail.Options{URL: site, Name: "Example", Templates: own}, user.Options{}, func(t *testing.T, p *program) {
		p.proved(t, "ada@example.com")
		p.forget(t, "ada@example.com")
		m := p.wantMails(t, 1)[0]
		if m.Subject != "Example: new password" || !strings.HasPrefix(m.Text, "Hi ada@example.com, by ") {
			t.Errorf("%q\n%s", m.Subject, m.Text)
		}
		if !strings.HasPrefix(m.HTML, "<html><title>Example: new password</title><i><p>Somebody, hopefully you, asked for a new password for ada@example.com at Example.") {
			t.Errorf("its HTML is the built-in one in a frame of one's own: %s", m.HTML)
		}
	})
}

func TestATemplateThatCannotBeUsedStopsTheStart(t *testing.T) {
	const subject, link = `{{define "reset.subject"}}Reset{{end}}`, "{{.URL}}"
	for name, c := range map[string]struct {
		own  fs.FS
		says []string
	}{
		"of a mail that is none":     {files("rest.txt", subject+link), []string{"rest.txt: there is no template of this name", "reset.txt"}},
		"a directory":                {files("de/reset.txt", subject+link), []string{"de: there is no template of this name"}},
		"that cannot be parsed":      {files("reset.txt", subject+"\n{{if .URL}}"), []string{"reset.txt:2: unexpected EOF"}},
		"with HTML that cannot":      {files("reset.html", "\n<p>{{end}}"), []string{"reset.html:2: unexpected {{end}}"}},
		"with HTML that is torn":     {files("reset.html", "\n<a href=\"{{.URL}}"), []string{"reset.html: a tag or a quotation mark in it does not end"}},
		"with a misspelt field":      {files("reset.txt", subject+"\n\n"+link+"{{.Urll}}"), []string{"reset.txt:3:", "Urll"}},
		"in the HTML":                {files("reset.html", link+"\n{{.Urll}}"), []string{"reset.html:2:", "Urll"}},
		"in a branch":                {files("verify.html", link+"\n{{if .Registers}}{{.Nmae}}{{end}}"), []string{"verify.html:2:", "Nmae"}},
		"in the other":               {files("password.html", "{{if not .Kept}}{{.Nmae}}{{end}}"), []string{"password.html:1:", "Nmae"}},
		"of what this mail has not":  {files("password.txt", `{{define "password.subject"}}x{{end}}{{.Until}}`), []string{"password.txt:1:", "nothing expires"}},
		"nor this":                   {files("reset.html", link+"{{.When}}"), []string{"reset.html:1:", ".Until"}},
		"in the layout":              {files("layout.html", `{{.Titel}}{{template "content" .}}`), []string{"layout.html:1:", "Titel"}},
		"without a subject":          {files("reset.txt", link), []string{`reset.txt: it has no subject`, `{{define "reset.subject"}}`}},
		"with an empty subject":      {files("reset.txt", `{{define "reset.subject"}} {{end}}`+link), []string{`reset.txt: the subject "reset.subject" is empty`}},
		"that says nothing":          {files("moved.txt", `{{define "moved.subject"}}Moved{{end}} `), []string{"moved.txt: it says nothing"}},
		"without the link":           {files("reset.txt", subject+"Look at our site."), []string{"reset.txt: the link is missing"}},
		"without the link in HTML":   {files("invite.html", "<p>Come!</p>"), []string{"invite.html: the link is missing"}},
		"with the link in a script":  {files("reset.html", "<a style=\"background:{{.URL}}\" href=\"{{.URL}}\">x</a>"), []string{"reset.html: a value stands where it could do harm"}},
		"of two lines":               {files("invite.txt", "{{define \"invite.subject\"}}x{{end}}{{.URL}}{{with .Message}}{{index . 1}}{{end}}"), []string{"invite.txt", "index out of range"}},
		"no UTF-8":                   {files("invite.txt", "{{define \"invite.subject\"}}Gr\xfc\xdfe{{end}}{{.URL}}"), []string{"invite.txt: it is no UTF-8"}},
		"nothing to see":             {files("invite.txt", "{{define \"invite.subject\"}}\u200b\u202e{{end}}{{.URL}}"), []string{`the subject "invite.subject" is empty`}},
		"with a page of its own":     {files("reset.html", "<!doctype html><HTML>"+link+"</HTML>"), []string{"reset.html: it is what stands within layout.html"}},
		"a layout without a content": {files("layout.html", "<p>{{.Site}}</p>"), []string{"layout.html: it does not show what the mails say"}},
		"several":                    {files("reset.txt", link, "moved.txt", ""), []string{"reset.txt: it has no subject", "moved.txt: it has no subject"}},
		"what is not there":          {os.DirFS("/nonexistent"), []string{"no such file or directory"}},
	} {
		_, err := mail.New(mail.Params{Options: mail.Options{Sender: &mailbox{}, URL: site, Templates: c.own}})
		if err == nil {
			t.Errorf("%s: it starts", name)
			continue
		}
		for _, text := range c.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: it does not say %q:\n%v", name, text, err)
			}
		}
		if n := strings.Count(err.Error(), "Titel"); n > 2 {
			t.Errorf("%s: it is said %d times:\n%v", name, n, err)
		}
	}
}

// What is typed stays text, whatever a template does with it.
func TestTheNameOfTheSiteIsOneLineOfText(t *testing.T) {
	if _, err := mail.New(mail.Params{Options: mail.Options{Sender: &mailbox{}, URL: site, Name: "Example\r\nBcc: eve@example.com"}}); err == nil {
		t.Error("a name of two lines")
	}
	previews, err := mail.Previews(mail.Options{URL: site, Name: `<b>"Keys" & Locks`})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range previews {
		if strings.Contains(m.HTML, "<b>") || !strings.Contains(m.Subject+m.Text, `<b>"Keys" & Locks`) || strings.ContainsAny(m.Subject, "\r\n") {
			t.Errorf("%s: %q\n%s", m.ID, m.Subject, m.HTML)
		}
	}
}

// The built-in mails load nothing from anywhere, and their colors are the reader's.
func TestTheBuiltInMailsAreLight(t *testing.T) {
	previews, err := mail.Previews(mail.Options{URL: site})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range previews {
		if found := regexp.MustCompile(`(?i)<(img|script|link|iframe|style|form)|src=|url\(|@import|[^-]color:|background`).FindString(m.HTML); found != "" || len(m.HTML) > 3000 {
			t.Errorf("%s: %d bytes, with %q", m.ID, len(m.HTML), found)
		}
		if strings.Contains(m.Text+m.HTML, "0001") || strings.Contains(m.Text, "\n\n\n") || !strings.Contains(m.HTML, "<title>") {
			t.Errorf("%s:\n%s", m.ID, m.Text)
		}
		for line := range strings.Lines(m.Text) {
			if len(line) > 160 {
				t.Errorf("%s: a line of %d characters: %s", m.ID, len(line), line)
			}
		}
	}
}

func TestTheManualListsEveryMailAndEveryField(t *testing.T) {
	manual, err := os.ReadFile("../../docs/mail.md")
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(mail.Templates(), "*.txt")
	if err != nil || len(names) == 0 {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.Contains(string(manual), "\n| `"+strings.TrimSuffix(name, ".txt")+"` |") {
			t.Errorf("docs/mail.md has no row for %s", name)
		}
	}
	shown := reflect.TypeOf(mail.Content{})
	var fields []string
	for i := range shown.NumField() {
		if f := shown.Field(i); f.IsExported() {
			fields = append(fields, f.Name)
		}
	}
	for i := range shown.NumMethod() {
		fields = append(fields, shown.Method(i).Name)
	}
	for _, f := range fields {
		if !strings.Contains(string(manual), "`."+f+"`") {
			t.Errorf("docs/mail.md does not say what .%s is", f)
		}
	}
}
