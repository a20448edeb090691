package mail

// Content is what templates can show.
type Content = content
