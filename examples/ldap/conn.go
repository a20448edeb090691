package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// maxAnswers is how much a directory may answer in one sign-in, in bytes.
const maxAnswers = 1 << 20

// dialer makes connections to a directory, each for one sign-in.
type dialer struct {
	address      string
	tls, upgrade bool // upgrade: by StartTLS
	config       *tls.Config
	timeout      time.Duration // of all that is done with a connection
}

// dial returns a connection, over which nothing goes in clear. It ends when its time is over, and when the context does.
func (d dialer) dial(ctx context.Context) (*goldap.Conn, error) {
	until := time.Now().Add(d.timeout)
	raw, err := (&net.Dialer{Deadline: until}).DialContext(ctx, "tcp", d.address)
	if err != nil {
		return nil, err
	}
	if err := raw.SetDeadline(until); err != nil {
		raw.Close()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	var stream net.Conn = &bounded{Conn: raw, left: maxAnswers, closed: stop}
	if d.tls && !d.upgrade {
		encrypted := tls.Client(stream, d.config)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			stream.Close()
			return nil, err
		}
		stream = encrypted
	}
	conn := goldap.NewConn(stream, d.tls && !d.upgrade)
	conn.SetTimeout(d.timeout)
	conn.Start()
	if d.tls && d.upgrade {
		if err := conn.StartTLS(d.config); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

var errTooMuch = errors.New("the directory answers with too much")

// bounded reads no more than it may.
type bounded struct {
	net.Conn
	left   int
	closed func() bool
}

func (b *bounded) Read(into []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(into[:min(len(into), b.left)])
	b.left -= n
	return n, err
}

func (b *bounded) Close() error {
	b.closed()
	return b.Conn.Close()
}
