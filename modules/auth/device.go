package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

const (
	// DeviceTTL is how long a device is known after a sign-in.
	DeviceTTL = 180 * 24 * time.Hour

	deviceAccounts = 5 // that one device is known to at most
	maxDevice      = 1 << 10
)

// DeviceToken returns what makes the device of somebody who has just signed in, or changed their credentials in the session,
// known to the account: whoever presents it, in Client.Device, is counted apart from everybody else who tries to sign in to
// that account. It opens nothing. It is good for this identity alone, until DeviceTTL is over or the credentials are set anew.
// What the device has presented before goes on for the other accounts it is known to.
func (s *Service) DeviceToken(session Session, presented string) string {
	device, entries := parseDevice(presented)
	if device == "" {
		device = rand.Text()
	}
	expires := time.Now().Add(DeviceTTL)
	made := s.deviceEntry(s.keys.Keys(keyring.Device)[0], device, session.IdentityID, session.ver, expires)
	token := []string{device, made}
	for _, e := range entries {
		mine := s.vouches(device, e, session.IdentityID, session.ver) || s.vouches(device, e, session.IdentityID, session.ver-1)
		// What is void by a change in the session goes, too. What is not as long as what is made here is none of ours, and might
		// make the token longer than anybody reads.
		if len(token) <= deviceAccounts && len(e) == len(made) && !mine {
			token = append(token, e)
		}
	}
	return strings.Join(token, ".")
}

// knownDevice returns the device that the token makes known to the identity; empty if it makes none known.
func (s *Service) knownDevice(token string, id IdentityID, ver int64) string {
	device, entries := parseDevice(token)
	for _, e := range entries {
		if id != "" && s.vouches(device, e, id, ver) {
			return device
		}
	}
	return ""
}

// vouches reports whether the entry was made here, for the device and the identity as it is.
func (s *Service) vouches(device, entry string, id IdentityID, ver int64) bool {
	seconds, _, _ := strings.Cut(entry, "-")
	expires, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || !time.Unix(expires, 0).After(time.Now()) {
		return false
	}
	for _, key := range s.keys.Keys(keyring.Device) {
		if hmac.Equal([]byte(entry), []byte(s.deviceEntry(key, device, id, ver, time.Unix(expires, 0)))) {
			return true
		}
	}
	return false
}

func (s *Service) deviceEntry(key keyring.Key, device string, id IdentityID, ver int64, expires time.Time) string {
	m := hmac.New(sha256.New, key.Bytes)
	fmt.Fprintf(m, "%q %q %d %d", device, id, ver, expires.Unix())
	return strconv.FormatInt(expires.Unix(), 10) + "-" + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// parseDevice takes a token apart; what is none has no device.
func parseDevice(token string) (device string, entries []string) {
	if len(token) > maxDevice {
		return "", nil
	}
	parts := strings.Split(token, ".")
	if len(parts[0]) != len(rand.Text()) || len(parts) < 2 || len(parts) > 1+deviceAccounts {
		return "", nil
	}
	return parts[0], parts[1:]
}
