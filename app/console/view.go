package console

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// pages are the templates, each with the layout, the parts and the texts around it, and our other files.
type pages struct {
	byName map[string]*template.Template
	texts  *template.Template
	assets map[string][]byte
}

// The files that are no page of their own.
const (
	layoutFile = "layout.html" // what is around all pages
	partsFile  = "parts.html"  // what several pages are made of: fields, times, lists
	textsFile  = "texts.html"  // every text there is
)

// readPages reads the templates, those of the options first.
func readPages(o Options, minPassword int) (*pages, error) {
	p := &pages{byName: map[string]*template.Template{}, assets: map[string][]byte{}}
	read := func(name string) (string, error) {
		if o.Templates != nil {
			data, err := fs.ReadFile(o.Templates, name)
			if !errors.Is(err, fs.ErrNotExist) {
				return string(data), err
			}
		}
		data, err := files.ReadFile("pages/" + name)
		return string(data), err
	}
	parse := func(t *template.Template, names ...string) (*template.Template, error) {
		for _, name := range names {
			source, err := read(name)
			if err != nil {
				return nil, fmt.Errorf("console: %w", err)
			}
			if name == textsFile && o.Templates != nil { // ours where theirs has none, such as one that was new in this version
				built, err := files.ReadFile("pages/" + name)
				if err == nil {
					t, err = t.Parse(string(built))
				}
				if err != nil {
					return nil, fmt.Errorf("console: template %s: %w", name, err)
				}
			}
			if t, err = t.Parse(source); err != nil {
				return nil, fmt.Errorf("console: template %s: %w", name, err)
			}
		}
		return t, nil
	}
	funcs := template.FuncMap{
		"path":        func(page string) string { return o.Path + page },
		"siteName":    func() string { return o.Name },
		"initial":     initial,
		"hasLogo":     func() bool { return len(o.Logo) > 0 },
		"minPassword": func() int { return minPassword },
		"maxPassword": func() int { return auth.MaxPassword },
		"text":        p.text,
		"textOr":      p.textOr,
		"said":        p.said,
		"advised":     p.advised,
		"when":        when,
		"picture":     picture,
	}
	if err := checkOwn(o.Templates, funcs); err != nil {
		return nil, err
	}
	var err error
	if p.texts, err = parse(template.New("").Funcs(funcs), textsFile); err != nil {
		return nil, err
	}
	around, err := parse(template.New("").Funcs(funcs), layoutFile, partsFile, textsFile)
	if err != nil {
		return nil, err
	}
	entries, err := files.ReadDir("pages")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	for _, e := range entries {
		name, isPage := strings.CutSuffix(e.Name(), ".html")
		switch {
		case !isPage:
			source, err := read(e.Name())
			if err != nil {
				return nil, fmt.Errorf("console: %w", err)
			}
			p.assets[e.Name()] = []byte(source)
		case e.Name() != layoutFile && e.Name() != partsFile && e.Name() != textsFile:
			page, err := around.Clone()
			if err == nil {
				page, err = parse(page, e.Name())
			}
			if err != nil {
				return nil, err
			}
			var escape *template.Error // what a template names that is not there, or where no text may stand, shows when it is first used
			if err := page.ExecuteTemplate(io.Discard, "layout", view{}); errors.As(err, &escape) {
				return nil, fmt.Errorf("console: template %s: %w", e.Name(), err)
			}
			p.byName[name] = page
		}
	}
	return p, nil
}

// ofReasons is how texts begin of which an application may have others than we: those of its own reasons.
var ofReasons = []string{"reason.", "waiting.", "advice."}

// checkOwn says which of an application's own files, or of its texts, nothing would ever look at.
func checkOwn(own fs.FS, funcs template.FuncMap) error {
	if own == nil {
		return nil
	}
	entries, err := fs.ReadDir(own, ".")
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	for _, e := range entries {
		if _, err := fs.Stat(files, "pages/"+e.Name()); err != nil && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			return fmt.Errorf("console: the template %s is none that there is: its name must be that of a built-in one", e.Name())
		}
	}
	texts, err := fs.ReadFile(own, textsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	theirs, err := template.New("").Funcs(funcs).Parse(string(texts))
	if err != nil {
		return fmt.Errorf("console: template %s: %w", textsFile, err)
	}
	ours, err := template.New("").Funcs(funcs).ParseFS(files, "pages/"+textsFile)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	for _, t := range theirs.Templates() {
		if key := t.Name(); key != "" && ours.Lookup(key) == nil && !slices.ContainsFunc(ofReasons, func(begins string) bool { return strings.HasPrefix(key, begins) }) {
			return fmt.Errorf("console: template %s: no page has the text %q", textsFile, key)
		}
	}
	return nil
}

// view is what a page shows.
type view struct {
	Title   string   // the key of a text
	About   any      // what the title is about, if it is about something
	Problem *problem // what is wrong, said first
	Flash   *flash   // what was just done, said once
	Form    form     // what was typed before
	Visitor *visitor // nil: nobody is signed in
	Menu    []menu   // of a page inside; none: it is one for everybody
	Back    *crumb   // the page above this one
	Data    any      // what this page alone shows
	Again   *again   // how the visitor proves once more that it is them; nil: the page does not ask for it

	Waiting *link.Waiting // why the sign-in just made led to no account
	Invite  user.Invite
	Reset   string // whose password is set; empty: it is to be asked for
	Done    string // what the form has done; empty: it was not sent yet
	Change  auth.EmailChange
	Proves  string // the address that a link would prove
	Sent    string // the address that a link was mailed to
	Secret  bool   // the form asks for the password

	Mailed auth.MailedFlow // a sign-in by what is mailed
	FormTo string          // another origin to which the form leads in the end; empty: none

	Wide  bool   // it shows more than one thing
	Mails bool   // the mailbox may be read
	Alone bool   // shown without the menu, whoever looks
	Next  string // where to go on to after signing in; empty: the first page

	Password  bool                // one can sign in by a password
	Registers bool                // one can register
	Providers []auth.ProviderInfo // by which one can sign in by a link

	permitted []string // what the visitor's roles give

	Elsewhere bool // who it is about signs in on pages of the application's own
}

// crumb is a page that is above another.
type crumb struct {
	Path  string // behind the console's
	Title string // the key of a text
}

// mark is what a field says of itself beside its value.
type mark struct {
	Faulty      bool
	Focus       bool
	DescribedBy string
}

// Mark marks a field that the problem is about, and gives the first such field the focus; without a problem, the field
// that is typed into first has it. hint is the id of the field's hint; empty if it has none.
func (v view) Mark(field, hint string, first bool) mark {
	m := mark{Focus: first, DescribedBy: hint}
	if v.Problem != nil {
		m.Faulty = v.Problem.IsAbout(field)
		if len(v.Problem.Fields) > 0 {
			m.Focus = v.Problem.Fields[0] == field
		}
	}
	if m.Faulty {
		m.DescribedBy = strings.TrimSpace("problem " + hint)
	}
	return m
}

// field is a field of a form, as the part of that name shows it. The keys of its texts are label.NAME, unless another label is
// named, and, if there is a hint, hint.NAME.
type field struct {
	Name, Type, Autocomplete string
	Label                    string // label.LABEL says what it is
	Value                    string
	Mark                     mark
	Hint, Optional           bool
}

// Field is a field of the form with what was typed into it. What else it is, words say: an input type other than text, focus, hint,
// optional, label:NAME for another label, and anything else for autocomplete; an empty word says nothing.
func (v view) Field(name string, words ...string) field {
	f := field{Name: name, Type: "text", Value: v.Form.Value(name), Label: name}
	focus := false
	for _, w := range words {
		if label, ok := strings.CutPrefix(w, "label:"); ok {
			f.Label = label
			continue
		}
		switch w {
		case f.Type: // of "email" "email" the second one is the autocomplete
			f.Autocomplete = w
		case "":
		case "email", "password", "url", "number", "search", "textarea":
			f.Type = w
		case "focus":
			focus = true
		case "hint":
			f.Hint = true
		case "optional":
			f.Optional = true
		default:
			f.Autocomplete = w
		}
	}
	hint := ""
	if f.Hint {
		hint = name + "-hint"
	}
	f.Mark = v.Mark(name, hint, focus)
	return f
}

// May reports whether the visitor's roles give the permission: whether a page offers something.
func (v view) May(permission string) bool { return slices.Contains(v.permitted, permission) }

// show answers with a page.
func (c *Console) show(w http.ResponseWriter, r *http.Request, page string, v view) error {
	if v.Flash == nil {
		v.Flash = c.takeFlash(w, r)
	}
	if v.Menu == nil && !v.Alone && v.Visitor != nil && v.Visitor.HasAccount() {
		v.Menu = c.menu(v.Visitor, r.URL.Path, v.Back)
	}
	if v.Problem != nil && v.Visitor != nil {
		told := *v.Problem
		told.Called = v.Visitor.Called()
		v.Problem = &told
	}
	if v.Mails = c.readsMails(r, v.Visitor); v.Mails && v.Menu != nil {
		at := c.path(mailboxPath)
		v.Menu = append(v.Menu, menu{"menu.development", []item{{mailboxPath, "mailbox.title", r.URL.Path == at || strings.HasPrefix(r.URL.Path, at+"/")}}})
	}
	var buf bytes.Buffer
	if err := c.pages.byName[page].ExecuteTemplate(&buf, "layout", v); err != nil {
		return fmt.Errorf("page %s: %w", page, err)
	}
	secure(w, v.FormTo)
	status := http.StatusOK
	if v.Problem != nil {
		status = v.Problem.Status
		web.SetRetryAfter(w, v.Problem.RetryAfter)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(buf.Bytes()) //nolint:errcheck // the caller has gone: there is nobody to tell
	}
	return nil
}

// picture is the address of a picture if pages may show it: one of this site. What is elsewhere would learn who signs in here.
func picture(address string) string {
	if !web.IsLocal(address) {
		return ""
	}
	return address
}

// initial is the letter that stands for somebody or something that has no picture.
func initial(name string) string {
	for _, r := range name {
		return strings.ToUpper(string(r))
	}
	return "?"
}
