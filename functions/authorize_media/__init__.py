"""The function authorize_media; see handler."""
