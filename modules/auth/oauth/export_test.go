package oauth

import "time"

// Hurry has a client wait for less.
func (c *Client) Hurry(d time.Duration) { c.http.Timeout = d }
