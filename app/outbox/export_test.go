package outbox

import "time"

// SetLease sets after how long another node takes over.
func (o *Outbox) SetLease(d time.Duration) { o.lease = d }
