package console

// webhookRoutes are the pages about webhooks.
func (c *Console) webhookRoutes() []route { return nil }
