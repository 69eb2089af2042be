package setup

import (
	"github.com/ringstore/ringstore/api/explorer"
	"github.com/ringstore/ringstore/configs"
)

// Explorer returns the web page, or nil if the configuration switches it off.
func Explorer(cfg *configs.Config) (*explorer.Page, error) {
	if cfg.Explorer.Disabled {
		return nil, nil
	}
	return explorer.New()
}
