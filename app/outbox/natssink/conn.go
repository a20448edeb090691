package natssink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	errLost   = errors.New("the connection was lost before it was acknowledged")
	errClosed = errors.New("natssink: the sink is closed")
)

// conn is a connection that is made when it is asked for, and again whenever it is lost.
type conn struct {
	options     nats.Options
	log         *slog.Logger
	onConnected func(jetstream.JetStream) // nil: nothing; has a goroutine of its own

	tried chan struct{} // closed when the first attempt has ended, one way or the other

	mu      sync.Mutex
	started bool
	closed  bool
	nats    *nats.Conn
	js      jetstream.JetStream // nil: there is no connection
	lost    chan struct{}       // of js: closed when its connection is lost
	why     error               // why there is no connection
}

func newConn(o nats.Options, log *slog.Logger) *conn {
	c := &conn{log: log, tried: make(chan struct{})}
	// Whoever embeds us may listen, too.
	connected, reconnected, disconnected, failed, async := o.ConnectedCB, o.ReconnectedCB, o.DisconnectedErrCB, o.ReconnectErrCB, o.AsyncErrorCB
	if old := o.DisconnectedCB; disconnected == nil && old != nil { //nolint:staticcheck // NATS calls it, too, if there is no other
		disconnected = func(n *nats.Conn, _ error) { old(n) }
	}
	o.ConnectedCB = func(n *nats.Conn) { c.up(n); call(connected, n) }
	o.ReconnectedCB = func(n *nats.Conn) { c.up(n); call(reconnected, n) }
	o.DisconnectedErrCB = func(n *nats.Conn, err error) {
		c.down(err)
		if disconnected != nil {
			disconnected(n, err)
		}
	}
	o.ReconnectErrCB = func(n *nats.Conn, err error) {
		c.down(err)
		if failed != nil {
			failed(n, err)
		}
	}
	o.AsyncErrorCB = func(n *nats.Conn, sub *nats.Subscription, err error) {
		if !c.isDown(err) {
			c.log.Warn("NATS reports an error", "error", err)
		}
		if async != nil {
			async(n, sub, err)
		}
	}
	c.options = o
	return c
}

func call(f nats.ConnHandler, n *nats.Conn) {
	if f != nil {
		f(n)
	}
}

// get returns the connection, and what is closed when it is lost. The first call connects, and those that come meanwhile
// wait for what comes of it; later ones do not wait.
func (c *conn) get(ctx context.Context) (js jetstream.JetStream, lost <-chan struct{}, err error) {
	c.start()
	select {
	case <-c.tried:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("natssink: connect to NATS: %w", ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, nil, errClosed
	case c.js == nil:
		why := c.why
		if c.nats != nil && c.nats.LastError() != nil { // what a server has said that was reached and refuses us
			why = c.nats.LastError()
		}
		return nil, nil, fmt.Errorf("natssink: there is no connection to NATS: %w", why)
	}
	return c.js, c.lost, nil
}

// start has it connected in the background, once.
func (c *conn) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.closed {
		return
	}
	c.started = true
	go func() {
		n, err := c.options.Connect() // also nil if it is to be tried again: up or down has the news
		if err != nil {
			c.down(err)
			return
		}
		c.mu.Lock()
		c.nats = n
		closed := c.closed
		c.mu.Unlock()
		if closed {
			n.Close()
		}
	}()
}

// up is called, in its turn with down, when there is a connection.
func (c *conn) up(n *nats.Conn) {
	js, err := jetstream.New(n)
	if err != nil {
		c.down(err)
		return
	}
	c.mu.Lock()
	c.js, c.lost, c.why = js, make(chan struct{}), nil
	c.triedOnce()
	c.mu.Unlock()
	c.log.Info("connected to NATS", "server", n.ConnectedUrlRedacted())
	if c.onConnected != nil {
		go c.onConnected(js)
	}
}

// isDown reports whether there is no connection, and takes the error for why.
func (c *conn) isDown(err error) bool {
	c.mu.Lock()
	is := c.js == nil
	c.mu.Unlock()
	if is {
		c.down(err)
	}
	return is
}

// down is called when the connection is lost, and for each attempt that fails.
func (c *conn) down(err error) {
	if err == nil {
		err = nats.ErrDisconnected
	}
	c.mu.Lock()
	news := c.why == nil || c.why.Error() != err.Error() // else it is the same every second
	c.why = err
	if c.js != nil {
		close(c.lost)
		c.js = nil
	}
	c.triedOnce()
	closed := c.closed
	c.mu.Unlock()
	if news && !closed {
		c.log.Warn("there is no connection to NATS; events wait", "error", err)
	}
}

// triedOnce says that the first attempt has ended. It is called under the lock.
func (c *conn) triedOnce() {
	select {
	case <-c.tried:
	default:
		close(c.tried)
	}
}

// lastError is what the server has complained of, such as a missing permission; nil: nothing.
func (c *conn) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nats == nil {
		return nil
	}
	return c.nats.LastError()
}

func (c *conn) close() {
	c.mu.Lock()
	c.closed = true
	n := c.nats
	c.triedOnce()
	c.mu.Unlock()
	if n != nil {
		n.Close()
	}
}
