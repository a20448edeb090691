package auth

// VerifyToken is CheckToken without the session.
func VerifyToken(s *Service, token string) (Claims, error) { return s.signer.verify(token) }
