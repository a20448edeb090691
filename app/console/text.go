package console

import (
	"html/template"
	"strings"
)

// What is said by a key that is not known before: a title, what was done, the state of something. A text is a template of ours, which
// has escaped what it is about for where that stands in it; so this file, and no other, says that what came out is HTML already.

// text is a text of the catalogue, about something: nothing or one value.
func (p *pages) text(key string, about ...any) (template.HTML, error) {
	var what any
	if len(about) > 0 {
		what = about[0]
	}
	var b strings.Builder
	err := p.texts.ExecuteTemplate(&b, key, what)
	return template.HTML(b.String()), err //nolint:gosec // a template of ours has made it
}

// textOr is the text, or what is said where there is none of that key.
func (p *pages) textOr(key, otherwise string, about ...any) (any, error) {
	if p.texts.Lookup(key) == nil {
		return otherwise, nil
	}
	return p.text(key, about...)
}

// said is what a page says of a problem: of its detail, if there is a text for that.
func (p *pages) said(of *problem) (any, error) {
	key := "reason." + of.Reason
	if of.Detail != "" && p.texts.Lookup(key+"."+of.Detail) != nil {
		key += "." + of.Detail
	}
	return p.textOr(key, of.Message, of)
}

// advised is a sentence of a finding: the text advice.CODE.WHICH or, of a code that is none of ours, what the API says.
func (p *pages) advised(which string, of finding) (any, error) {
	otherwise := map[string]string{"what": of.What, "person": of.Person, "operator": of.Operator}[which]
	return p.textOr("advice."+of.Code+"."+which, otherwise, of)
}
