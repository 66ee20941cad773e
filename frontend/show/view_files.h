// The page of `mixc view`: frontend/show/page/*, embedded as text.
#ifndef MIXC_VIEW_FILES_H
#define MIXC_VIEW_FILES_H

extern const char view_page_text[];         // HTML with {{style}}, {{title}}, {{about}}, {{plain}}, {{data}}, {{script}}
extern const char view_style_text[];
extern const char view_script_text[];

#endif
