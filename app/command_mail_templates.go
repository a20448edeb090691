package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/latchkey-go/latchkey/app/mail"
)

const mailUsage = `Usage of server mail:
  server mail test --to ADDRESS
                               send a mail that says nothing, by the driver that the server would use, and say how far it came
  server mail templates DIR    write the built-in templates of mails into a directory, to start your own from: keep those
                               that you change, name the directory in mail.templates, and start the server anew
  server mail preview DIR      write every mail as it would leave, with samples of what can be in it, as files to open:
                               what is wrong with a template is said instead, as at a start

  The directory is made if it is not there. Of the templates, files that are there stay as they are; previews are
  written anew. docs/mail.md says what each mail can show.
`

// mail is what there is to do about mails.
func (m *command) mail(args []string) error {
	flags := m.flags("server mail")
	flags.Usage = func() { fmt.Fprint(flags.Output(), mailUsage) }
	if len(args) == 0 || helpAsked(args) {
		return m.parse(flags, []string{"--help"})
	}
	if args[0] == "test" {
		return m.mailTest(args[1:])
	}
	if err := m.parse(flags, args[1:]); err != nil {
		return err
	}
	run := map[string]func(dir string) error{"templates": m.mailTemplates, "preview": m.mailPreview}[args[0]]
	switch {
	case run == nil:
		return fmt.Errorf("there is no command %q of server mail; %w", args[0], usageOf(flags))
	case flags.NArg() != 1:
		return fmt.Errorf("server mail %s needs a directory; %w", args[0], usageOf(flags))
	}
	dir := flags.Arg(0)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // for whoever runs the server, and words are no secret
		return err
	}
	return run(dir)
}

// mailTemplates writes the built-in templates that are not there.
func (m *command) mailTemplates(dir string) error {
	built := mail.Templates()
	entries, err := fs.ReadDir(built, ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, err := fs.ReadFile(built, e.Name())
		if err != nil {
			return err
		}
		path := filepath.Join(dir, e.Name())
		switch err := writeNew(path, text); {
		case errors.Is(err, fs.ErrExist):
			fmt.Fprintln(m.out, "Kept", path)
		case err != nil:
			return err
		default:
			fmt.Fprintln(m.out, "Wrote", path)
		}
	}
	fmt.Fprintln(m.out, "Take away those that you do not change: the built-in ones follow the program.")
	return nil
}

// writeNew writes a file that is not there.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // as the directory
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// mailPreview writes every mail, with samples.
func (m *command) mailPreview(dir string) error {
	previews, err := mail.Previews(mailWords(m.config))
	if err != nil {
		return err
	}
	for _, p := range previews {
		text := fmt.Sprintf("From: %s\nTo: %s\nSubject: %s\n\n%s", p.From, p.To, p.Subject, p.Text)
		for ext, text := range map[string]string{".txt": text, ".html": p.HTML} {
			if err := os.WriteFile(filepath.Join(dir, p.ID+ext), []byte(text), 0o644); err != nil { //nolint:gosec // its links are samples
				return err
			}
		}
		fmt.Fprintf(m.out, "%s\t%s\n", filepath.Join(dir, p.ID+".html"), p.Subject)
	}
	return nil
}

// mailWords are the options of what mails say.
func mailWords(c *Config) mail.Options {
	o := mail.Options{From: c.Mail.From, URL: c.HTTP.URL(), Pages: c.Console.Path, Name: c.Mail.Name}
	if c.Mail.Templates != "" {
		o.Templates = templates{os.DirFS(c.Mail.Templates), c.Mail.Templates}
	}
	return o
}

// templates is a directory whose errors name it.
type templates struct {
	fs.FS
	dir string
}

func (t templates) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(t.FS, name)
	if err != nil {
		err = fmt.Errorf("mail.templates is %s: %w", t.dir, err)
	}
	return entries, err
}
