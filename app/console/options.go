package console

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"

	"github.com/latchkey-go/latchkey/app/web"
)

// Options are what an application can change of the pages. The zero value is the pages as they are.
type Options struct {
	// Path is where the pages are, such as /account; /app if empty. Mails and providers lead there, too: they are told it
	// where they are made.
	Path string
	// Name is what the pages call the site; Latchkey if empty.
	Name string
	// Logo is a picture (SVG, PNG, JPEG or WebP) that is shown in place of the name's initial; at most 256 KiB.
	Logo []byte
	// Templates count before the files of the same name that are built in, which are those of Templates(): texts.html is every
	// text, of which theirs may have some alone, style.css the style, layout.html what is around all pages. They are read and tried by New.
	Templates fs.FS
}

// DefaultPath is where the pages are unless Options say otherwise.
const DefaultPath = web.DefaultPages

// Templates are the built-in pages: where to begin with one's own.
func Templates() fs.FS {
	built, err := fs.Sub(files, "pages")
	if err != nil {
		panic(err) // the name is right
	}
	return built
}

var (
	pathPattern = regexp.MustCompile(`^(/[a-z0-9][a-z0-9_-]*)+$`)
	ofOthers    = regexp.MustCompile(`^/(auth|admin|health)(/|$)`)
)

// CheckPath says what is wrong with a path for the pages; nil: nothing.
func CheckPath(path string) error {
	if !pathPattern.MatchString(path) || ofOthers.MatchString(path) {
		return errors.New("must be a path such as /app or /my/account, in lower case, without a slash at the end, and not under /auth, /admin or /health")
	}
	return nil
}

const maxLogo = 256 << 10

// check fills in what is empty, and says what is wrong.
func (o *Options) check() error {
	o.Path, o.Name = cmp.Or(o.Path, DefaultPath), cmp.Or(o.Name, "Latchkey")
	switch {
	case CheckPath(o.Path) != nil:
		return fmt.Errorf("console: the path %q %w", o.Path, CheckPath(o.Path))
	case len(o.Logo) > maxLogo:
		return fmt.Errorf("console: the logo is larger than %d KiB", maxLogo>>10)
	case len(o.Logo) > 0 && o.logoType() == "":
		return fmt.Errorf("console: the logo is no SVG, PNG, JPEG or WebP picture")
	}
	return nil
}

// logoType is the media type of the logo; empty if it is not one that is shown.
func (o *Options) logoType() string {
	switch media := http.DetectContentType(o.Logo); media {
	case "image/png", "image/jpeg", "image/webp":
		return media
	}
	if bytes.Contains(o.Logo[:min(len(o.Logo), 1024)], []byte("<svg")) {
		return "image/svg+xml"
	}
	return ""
}
