package mail

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"maps"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode/utf8"
)

// content is what templates can show: docs/mail.md says which mail has what.
type content struct {
	Site     string // what the site is called
	Subject  string // of the mail, in HTML
	To       string
	URL      string
	Code     string // that signs in; empty: the mail is no code
	Other    string // the other address, where two are spoken of; empty: none
	Provider string // how a way to sign in is shown
	IP       string // from where something was done; empty: not known
	Device   string // by what, in words; empty: not known
	Failures int    // before a sign-in; 0: not worth telling

	Registers bool // the link completes a registration
	Adds      bool // it adds a way to sign in, to the account with the other address
	NewDevice bool // a sign-in was from where nobody was seen before
	Kept      bool // the session in which it was done goes on

	expires time.Time
	at      time.Time
	message string // of whoever invites; empty: none
}

const inWords = "2 January 2006, 15:04 MST" // which does not depend on where the reader is

// Until is when the link expires. It fails in a mail without one, which the check at the start finds.
func (c content) Until() (string, error) {
	if c.expires.IsZero() {
		return "", errors.New("nothing expires in this mail")
	}
	return c.expires.UTC().Format(inWords), nil
}

// When is when what the mail tells happened. It fails in a mail that tells nothing of the kind.
func (c content) When() (string, error) {
	if c.at.IsZero() {
		return "", errors.New("this mail is not about a moment: until when its link works is .Until")
	}
	return c.at.UTC().Format(inWords), nil
}

// From is from where something was done, as far as that is known.
func (c content) From() string {
	if c.IP != "" && c.Device != "" {
		return c.IP + " (" + c.Device + ")"
	}
	return c.IP + c.Device
}

// Message is what whoever invites says, line by line, so that templates can show that it is not us who say it. Mail programs
// make links of what looks like an address, whatever we do; so here nothing does.
func (c content) Message() []string {
	if c.message == "" {
		return nil
	}
	text := addresses.ReplaceAllString(c.message, "$1 $2")
	return strings.Split(text, "\n")
}

// letter is a kind of mail. Its templates are NAME.txt, which defines NAME.subject, and NAME.html, which layout.html frames.
type letter struct {
	name    string
	token   bool // its link does something, so no template may leave it out
	samples []content
}

// letters are all there are, with samples of what can be in them.
func letters(o Options) []letter {
	base := content{Site: o.Site(), To: "ada@example.com"}
	with := func(change func(*content)) content {
		c := base
		change(&c)
		return c
	}
	soon := time.Date(2026, time.December, 24, 18, 0, 0, 0, time.UTC)
	leads := func(path string, changes ...func(*content)) (samples []content) {
		for _, change := range append(changes, func(*content) {}) {
			samples = append(samples, with(func(c *content) {
				c.URL, c.expires = o.link(path, sampleToken), soon
				change(c)
			}))
		}
		return samples
	}
	tells := func(changes ...func(*content)) (samples []content) {
		for _, change := range changes {
			told := func(c *content) { c.URL, c.at = o.page(resetPath), soon; change(c) }
			samples = append(samples, with(func(c *content) { c.IP, c.Device = "192.0.2.1", "Firefox on Windows"; told(c) }), with(told))
		}
		return samples
	}
	other := func(c *content) { c.URL, c.Other = o.page(resetPath), "ada@lovelace.example" }
	provider := func(c *content) { c.Provider = "Example Account" }
	return []letter{
		{"invite", true, leads("/invite", func(c *content) { c.message = "Welcome to the team!\nAsk me anything." }, func(c *content) { c.message = "Hello." })},
		{"reset", true, leads(resetPath)},
		{"move", true, leads("/email/confirm", func(c *content) { c.Other = "ada@lovelace.example" })},
		{"verify", true, leads("/verify-email", func(c *content) { c.Registers = true })},
		{"magiclink", true, leads(magicPath, func(c *content) { c.IP, c.Device = "192.0.2.1", "Firefox on Windows" },
			func(c *content) { c.Adds, c.Other = true, "ada@lovelace.example" }, func(c *content) { c.Adds = true })},
		{"magiccode", false, []content{
			with(func(c *content) {
				c.URL, c.Code, c.expires, c.IP, c.Device = o.page(magicPath), sampleCode, soon, "192.0.2.1", "Firefox on Windows"
			}),
			with(func(c *content) { c.URL, c.Code, c.expires = o.page(magicPath), sampleCode, soon }),
			with(func(c *content) {
				c.URL, c.Code, c.expires, c.Adds, c.Other = o.page(magicPath), sampleCode, soon, true, "ada@lovelace.example"
			}),
			with(func(c *content) { c.URL, c.Code, c.expires, c.Adds = o.page(magicPath), sampleCode, soon, true }),
		}},
		{"known", false, []content{with(func(c *content) { c.URL = o.page(resetPath) })}},
		{"moving", false, []content{with(other)}},
		{"moved", false, []content{with(other)}},
		{"password", false, tells(func(c *content) { c.Kept = true }, func(*content) {})},
		{"signin", false, tells(func(c *content) { c.NewDevice = true }, func(c *content) { c.Failures = 7 }, func(c *content) { c.NewDevice, c.Failures = true, 7 })},
		{"reclaimed", false, tells(func(*content) {})},
		{"linked", false, tells(provider)},
		{"unlinked", false, tells(provider)},
		{"deleted", false, tells(func(c *content) { c.URL = "" })},
	}
}

const (
	sampleToken = "eyJhbGciOiJIUzI1NiJ9.sample.token"
	sampleCode  = "271828"
)

//go:embed templates
var builtIn embed.FS

// Templates are the built-in templates, by their names, to start one's own from.
func Templates() fs.FS {
	files, err := fs.Sub(builtIn, "templates")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	return files
}

const layout = "layout.html"

// pages are the parsed templates of one mail.
type pages struct {
	text *texttemplate.Template
	html *htmltemplate.Template
}

// parse reads the templates, of which those in own count before the built-in ones, and tries each with every sample: what is
// wrong with one is said now, not at the first mail.
func parse(o Options, all []letter) (map[string]pages, error) {
	files, err := sources(o.Templates)
	if err != nil {
		return nil, err
	}
	frame, err := htmltemplate.New(layout).Parse(files[layout])
	if err == nil {
		err = framesContent(frame)
	}
	if err != nil {
		return nil, unusable(err)
	}
	var wrong []error
	parsed := make(map[string]pages, len(all))
	for _, l := range all {
		p, err := l.parse(frame, files)
		if err == nil {
			err = l.check(p)
		}
		if err != nil && !slices.ContainsFunc(wrong, func(said error) bool { return said.Error() == err.Error() }) { // as of the layout
			wrong = append(wrong, err)
		}
		parsed[l.name] = p
	}
	if len(wrong) > 0 {
		return nil, unusable(wrong...)
	}
	return parsed, nil
}

// framesContent tries the layout.
func framesContent(frame *htmltemplate.Template) error {
	const marker = "here is what the mail says"
	tried, err := frame.Clone()
	if err == nil {
		_, err = tried.New("content").Parse(marker)
	}
	var page bytes.Buffer
	if err == nil {
		err = tried.Execute(&page, content{})
	}
	if err == nil && !strings.Contains(page.String(), marker) {
		err = fmt.Errorf("%s: it does not show what the mails say: put {{template \"content\" .}} where that goes", layout)
	}
	return err
}

// sources are the texts of all templates by name.
func sources(own fs.FS) (map[string]string, error) {
	files := map[string]string{}
	if err := read(Templates(), files, func(string) error { return nil }); err != nil {
		return nil, err
	}
	known := slices.Sorted(maps.Keys(files))
	if own == nil {
		return files, nil
	}
	err := read(own, files, func(name string) error {
		if !slices.Contains(known, name) {
			return unusable(fmt.Errorf("%s: there is no template of this name; there are %s", name, strings.Join(known, ", ")))
		}
		return nil
	})
	return files, err
}

// read reads all files that are not hidden: a directory that Kubernetes makes of a ConfigMap has some.
func read(from fs.FS, into map[string]string, check func(name string) error) error {
	entries, err := fs.ReadDir(from, ".")
	if err != nil {
		return fmt.Errorf("mail templates: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := check(e.Name()); err != nil {
			return err
		}
		text, err := fs.ReadFile(from, e.Name())
		if err != nil {
			return fmt.Errorf("mail templates: %w", err)
		}
		if !utf8.Valid(text) {
			return unusable(fmt.Errorf("%s: it is no UTF-8: save it as that", e.Name()))
		}
		into[e.Name()] = strings.TrimPrefix(string(text), "\ufeff") // by which some editors begin
	}
	return nil
}

// unusable says which templates cannot be used, and what to do.
func unusable(wrong ...error) error {
	lines := make([]string, len(wrong))
	for i, err := range wrong {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(err.Error(), "template: "), "html/template:")
	}
	return fmt.Errorf("mail templates cannot be used, so mend them, or take the file away to have the built-in one:\n  %s", strings.Join(lines, "\n  "))
}

func (l letter) parse(frame *htmltemplate.Template, files map[string]string) (p pages, err error) {
	page := l.name + ".html"
	if strings.Contains(strings.ToLower(files[page]), "<html") {
		return p, fmt.Errorf("%s: it is what stands within %s, which has <html> and <body>", page, layout)
	}
	if p.text, err = texttemplate.New(l.name + ".txt").Parse(files[l.name+".txt"]); err != nil {
		return p, err
	}
	if p.text.Lookup(l.name+".subject") == nil {
		return p, fmt.Errorf("%[1]s.txt: it has no subject: begin it with {{define %[2]q}}…{{end -}}", l.name, l.name+".subject")
	}
	if p.html, err = frame.Clone(); err != nil {
		return p, err
	}
	if _, err = p.html.New(page).Parse(files[page]); err != nil {
		return p, err
	}
	_, err = p.html.New("content").Parse(fmt.Sprintf("{{template %q .}}", page))
	return p, err
}

// check writes the mail with every sample.
func (l letter) check(p pages) error {
	for _, c := range l.samples {
		subject, text, page, err := p.write(l.name, c)
		var torn *htmltemplate.Error
		switch {
		case errors.As(err, &torn) && torn.ErrorCode == htmltemplate.ErrEndContext: // the layout alone is good
			return fmt.Errorf("%s.html: a tag or a quotation mark in it does not end", l.name)
		case err != nil:
			return err
		case subject == "":
			return fmt.Errorf("%s.txt: the subject %q is empty", l.name, l.name+".subject")
		case strings.TrimSpace(text) == "":
			return fmt.Errorf("%s.txt: it says nothing", l.name)
		case strings.Contains(page, "ZgotmplZ"):
			return fmt.Errorf("%s.html: a value stands where it could do harm, such as in a style or a script", l.name)
		case l.token && !strings.Contains(text, c.URL):
			return fmt.Errorf("%s.txt: the link is missing: show {{.URL}}", l.name)
		case c.Code != "" && !strings.Contains(text, c.Code):
			return fmt.Errorf("%s.txt: the code is missing: show {{.Code}}", l.name)
		case c.Code != "" && !strings.Contains(page, c.Code):
			return fmt.Errorf("%s.html: the code is missing: show {{.Code}}", l.name)
		case l.token && !strings.Contains(page, sampleToken):
			return fmt.Errorf("%s.html: the link is missing: show {{.URL}}, as in <a href=\"{{.URL}}\">", l.name)
		}
	}
	return nil
}

// write writes the mail.
func (p pages) write(name string, c content) (subject, text, page string, err error) {
	var buf bytes.Buffer
	if err = p.text.ExecuteTemplate(&buf, name+".subject", c); err != nil {
		return "", "", "", err
	}
	subject = line(buf.String())
	c.Subject = subject
	buf.Reset()
	if err = p.text.Execute(&buf, c); err != nil {
		return "", "", "", err
	}
	text = buf.String()
	buf.Reset()
	err = p.html.Execute(&buf, c)
	return subject, text, buf.String(), err
}

// line makes one line of text, whatever is in it: it becomes a header.
func line(text string) string {
	return strings.Join(strings.Fields(oneLine(text)), " ")
}

// Previews are all mails as they would be written, with samples of what can be in them. Their IDs are their names, such as
// invite and invite-2.
func Previews(o Options) ([]Message, error) {
	all := letters(o)
	parsed, err := parse(o, all)
	if err != nil {
		return nil, err
	}
	var previews []Message
	for _, l := range all {
		for i, c := range l.samples {
			m := Message{ID: l.name, From: o.From, To: c.To}
			if i > 0 {
				m.ID = fmt.Sprintf("%s-%d", l.name, i+1)
			}
			if m.Subject, m.Text, m.HTML, err = parsed[l.name].write(l.name, c); err != nil {
				return nil, err
			}
			previews = append(previews, m)
		}
	}
	return previews, nil
}
