package outbox

import "time"

// SetLease sets after how long another node takes over.
func (o *Outbox) SetLease(d time.Duration) { o.lease = d }

// SetClock has the clock of this machine go wrong by so much.
func (o *Outbox) SetClock(ahead time.Duration) {
	clock := o.clock
	o.clock = func() time.Time { return clock().Add(ahead) }
}
