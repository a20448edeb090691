// Package smtptest has a real SMTP server for tests: it listens on this machine, has a certificate of a CA of its own, knows
// one account if it is told to, keeps what it takes, and fails as it is told.
package smtptest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Options say what kind of server it is.
type Options struct {
	TLS      string // starttls, tls or none
	Username string // empty: everybody may send
	Password string
	Login    bool   // it offers LOGIN, not PLAIN
	Name     string // that its certificate is for; empty: 127.0.0.1
}

// Mail is one that the server has taken, or is asked to take.
type Mail struct {
	From string
	To   []string
	Data []byte // as it came, without the dots
	User string // who has signed in
	TLS  bool
}

// The stages at which Fail is asked.
const (
	Connect   = "connect"
	Sender    = "sender"
	Recipient = "recipient"
	Content   = "content" // all of the mail is there
)

// Server is one that runs until the test ends, or Stop.
type Server struct {
	Host   string
	Port   int
	Roots  *x509.CertPool
	CAFile string // the same, as a file
	TLS    string

	options Options
	config  *tls.Config

	mu       sync.Mutex
	running  *smtp.Server
	ended    chan struct{}
	mails    []Mail
	fail     func(stage string, m Mail) error
	heard    bytes.Buffer // all that came in clear
	sessions int
}

// Start starts a server.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{Host: "127.0.0.1", TLS: o.TLS, options: o}
	s.certify(t)
	s.Again(t)
	t.Cleanup(s.Stop)
	return s
}

// Env has Latchkey send by the server.
func (s *Server) Env() []string {
	return []string{"LATCHKEY_MAIL_DRIVER=smtp", "LATCHKEY_MAIL_SMTP_HOST=" + s.Host, "LATCHKEY_MAIL_SMTP_PORT=" + strconv.Itoa(s.Port),
		"LATCHKEY_MAIL_SMTP_TLS=" + s.TLS, "LATCHKEY_MAIL_SMTP_CA_FILE=" + s.CAFile}
}

// Again starts a server that was stopped, where it was.
func (s *Server) Again(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	if err != nil {
		t.Fatal(err)
	}
	s.Port = l.Addr().(*net.TCPAddr).Port
	l = listener{l, s}
	server := smtp.NewServer(smtp.BackendFunc(s.session))
	server.Domain, server.ErrorLog, server.AllowInsecureAuth = "mail.example.com", log.New(io.Discard, "", 0), true
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	switch s.options.TLS {
	case "starttls":
		server.TLSConfig = s.config
	case "tls":
		l = tls.NewListener(l, s.config)
	}
	ended := make(chan struct{})
	s.mu.Lock()
	s.running, s.ended = server, ended
	s.mu.Unlock()
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
}

// Stop hangs up and lets nobody connect.
func (s *Server) Stop() {
	s.mu.Lock()
	server, ended := s.running, s.ended
	s.running = nil
	s.mu.Unlock()
	if server != nil {
		_ = server.Close()
		<-ended
	}
}

// Fail has the server ask f at every stage of every mail: its error is the answer, an Answer or one of another kind (which is
// 451). It may wait, and is called by several at once. nil takes everything.
func (s *Server) Fail(f func(stage string, m Mail) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// Answer is an error as a server tells it, such as 550 5.1.1 no such user.
func Answer(code int, class, subject, detail int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{class, subject, detail}, Message: text}
}

// Mails are what the server has taken so far.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Heard is all that came to the server in clear.
func (s *Server) Heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard.String()
}

// Sessions is how many have connected.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

func (s *Server) ask(stage string, m Mail) error {
	s.mu.Lock()
	fail := s.fail
	s.mu.Unlock()
	if fail == nil {
		return nil
	}
	err := fail(stage, m)
	if known := new(smtp.SMTPError); err != nil && !errors.As(err, &known) {
		return Answer(451, 4, 3, 0, err.Error())
	}
	return err
}

func (s *Server) session(c *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	s.sessions++
	s.mu.Unlock()
	_, secure := c.TLSConnectionState()
	return &session{server: s, mail: Mail{TLS: secure}}, s.ask(Connect, Mail{})
}

type session struct {
	server *Server
	mail   Mail
}

func (c *session) Reset()        { c.mail = Mail{User: c.mail.User, TLS: c.mail.TLS} }
func (c *session) Logout() error { return nil }

func (c *session) AuthMechanisms() []string {
	switch {
	case c.server.options.Username == "":
		return nil
	case c.server.options.Login:
		return []string{"LOGIN"}
	}
	return []string{sasl.Plain}
}

func (c *session) Auth(mech string) (sasl.Server, error) {
	check := func(username, password string) error {
		if username != c.server.options.Username || password != c.server.options.Password {
			return Answer(535, 5, 7, 8, "nobody is "+username+" with "+password) // as no server should
		}
		c.mail.User = username
		return nil
	}
	if mech == "LOGIN" {
		return &login{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, username, password string) error { return check(username, password) }), nil
}

// login is the mechanism LOGIN, which nothing but old servers offer.
type login struct {
	check    func(username, password string) error
	step     int
	username string
}

func (l *login) Next(response []byte) (challenge []byte, done bool, err error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.username = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.username, string(response))
}

func (c *session) Mail(from string, _ *smtp.MailOptions) error {
	if c.server.options.Username != "" && c.mail.User == "" {
		return smtp.ErrAuthRequired
	}
	c.mail.From = from
	return c.server.ask(Sender, c.mail)
}

func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.mail.To = append(c.mail.To, to)
	return c.server.ask(Recipient, c.mail)
}

func (c *session) Data(r io.Reader) (err error) {
	if c.mail.Data, err = io.ReadAll(r); err != nil {
		return err
	}
	if err := c.server.ask(Content, c.mail); err != nil {
		return err
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.mails = append(c.server.mails, c.mail)
	return nil
}

// listener hears what comes over its connections.
type listener struct {
	net.Listener
	server *Server
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn{c, l.server}, nil
}

type conn struct {
	net.Conn
	server *Server
}

func (c conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.server.mu.Lock()
	c.server.heard.Write(p[:n])
	c.server.mu.Unlock()
	return n, err
}

// certify makes a CA, and a certificate for the server.
func (s *Server) certify(t testing.TB) {
	t.Helper()
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA for a test"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	if s.options.Name != "" {
		leaf.DNSNames = []string{s.options.Name}
	} else {
		leaf.IPAddresses = []net.IP{net.ParseIP(s.Host)}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	s.config = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	inPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	s.Roots = x509.NewCertPool()
	s.Roots.AppendCertsFromPEM(inPEM)
	s.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.CAFile, inPEM, 0o600); err != nil {
		t.Fatal(err)
	}
}
