package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"html"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
)

// mailTest sends a mail that says nothing, by the driver that the server would use. It needs no database.
func (m *command) mailTest(args []string) error {
	flags := m.flags("server mail test")
	to := flags.String("to", "", "the `address` that the mail goes to")
	if err := m.parse(flags, args); err != nil {
		return err
	}
	if *to == "" || flags.NArg() > 0 {
		return fmt.Errorf("server mail test needs --to ADDRESS, and nothing else; %w", usageOf(flags))
	}
	address, err := email.Canonical(*to)
	if err != nil {
		return err
	}
	driver := m.config.Mail.driver(m.config.Production())
	sender, err := newSender(m.config, m.out)
	switch {
	case err != nil:
		return err
	case sender == nil:
		return fmt.Errorf("no mail is sent here: %s is %s; set mail.smtp.host, or another mail.driver", m.config.where("mail.driver"), m.config.Mail.Driver)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	begin, by := time.Now(), "the driver "+driver
	if s, ok := sender.(fmt.Stringer); ok {
		by = s.String()
	}
	site := mailWords(m.config).Site()
	says := "Whoever runs " + site + " has sent this mail to see whether its mails leave. There is nothing to do."
	err = sender.Send(ctx, mail.Message{
		ID: "test_" + rand.Text(), From: m.config.Mail.From, To: address, At: begin, Subject: "Test mail of " + site,
		Text: says + "\n", HTML: "<!doctype html>\n<html lang=\"en\"><title>Test mail</title>\n<p>" + html.EscapeString(says) + "</p>\n",
	})
	if err != nil {
		return fmt.Errorf("the mail to %s has not left: %w", address, err)
	}
	fmt.Fprintf(m.out, "The mail to %s was taken by %s, in %v. Whether it arrives, the mailbox knows.\n", address, by, time.Since(begin).Round(time.Millisecond))
	return nil
}
