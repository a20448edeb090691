package auth

// VerifyToken is CheckToken without the session.
func VerifyToken(s *Service, token string) (Claims, error) { return s.signer.verify(token) }

// KnownDevice is the device that the token makes known to the session's identity; empty: none.
func KnownDevice(s *Service, token string, session Session) string {
	return s.knownDevice(token, session.IdentityID, session.ver)
}
